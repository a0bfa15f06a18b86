"""All fields of an experiment, with the defaults from which configs start."""

from ml_collections import ConfigDict, config_dict


def base() -> ConfigDict:
    """The experiment "AR 32" of arXiv 2505.15105, with two layers of width 64."""
    config = ConfigDict()

    config.task = ConfigDict()
    config.task.name = "associative_recall"  # a name in mecheval_jax.tasks.TASKS
    config.task.pairs = 16  # greatest number of key-value pairs of a document
    config.task.min_pairs = config_dict.placeholder(int)  # smallest number; None: `pairs`
    config.task.key_vocabulary = 4096  # number of keys
    config.task.value_vocabulary = 4096  # number of values
    config.task.reverse = False  # whether values are asked, and their keys are the answers
    config.task.filler = 0  # number of filler tokens between two pairs
    config.task.filler_vocabulary = 64  # number of different fillers
    config.task.queries = 1  # number of queries per document
    config.task.held_out = 0.0  # fraction of (key, value) cells that only the test split asks
    config.task.fresh_replacement = False  # whether corruptions avoid tokens of the document
    config.task.seed = 0  # seed of the held-out cells

    config.model = ConfigDict()
    # Name in mecheval_jax.mixers.ARCHITECTURES, module:Class of your own, or one per layer: "a,b".
    config.model.mixer = "attention"
    config.model.layers = 2  # number of blocks
    config.model.width = 64  # number of channels of the residual stream
    config.model.max_length = 1024  # length limit in tokens; time scale of implicit filters
    config.model.positions = "none"  # learned, none; or rotary, alibi inside the mixers
    config.model.feed_forward = "mlp"  # mlp, glu, channel_mix, identity, none; not of Mamba blocks
    config.model.mamba_feed_forward = "none"  # feed-forward part of Mamba blocks
    config.model.canon = 0  # taps of residual convolutions in every block; 0: none
    config.model.canon_at = "A"  # places: A before the mixer, B on q, k, v, C before, D in the MLP
    config.model.canon_bias = True  # whether these convolutions have biases
    config.model.mixer_options = ConfigDict()  # fields of the mixer; a list has one value per layer
    config.model.mixer_options.unlock()
    config.model.dtype = "float32"  # type of the activations: float32, bfloat16
    config.model.hidden = 0  # inner width of the feed-forward part; 0: four times the width
    config.model.activation = "gelu"  # inside the feed-forward part: gelu, gelu_tanh, silu, relu
    config.model.feed_forward_bias = True  # whether the feed-forward part has biases
    config.model.norm = "auto"  # layer, rms, none; auto: rms in Mamba blocks, else layer
    config.model.output_norm = "layer"  # norm before the output head: layer, rms, none
    config.model.norm_epsilon = 1e-5  # epsilon of both; norms inside mixers have their own
    config.model.parallel = False  # whether mixer and feed-forward part read the same input
    config.model.tied = True  # whether the output head is the embedding

    config.training = ConfigDict()
    config.training.steps = 50_016  # number of optimizer steps
    config.training.batch_size = 32  # number of documents per step
    config.training.learning_rate = 1e-3  # highest rate of the schedule
    config.training.weight_decay = 0.0  # decoupled weight decay of every parameter
    config.training.exempt_from_decay = False  # whether those exempted by a mixer's authors do not
    config.training.scaled_rates = False  # whether those scaled by a mixer's authors are scaled
    config.training.beta1 = 0.9  # decay of Adam's running mean of gradients
    config.training.beta2 = 0.999  # decay of Adam's running mean of squared gradients
    config.training.warmup_fraction = 0.1  # share of the steps in which the rate rises
    config.training.decay = "cosine"  # schedule after the warmup: cosine, linear, constant
    config.training.training_batches = config_dict.placeholder(int)  # size of the set; None: fresh
    config.training.shuffle = False  # whether its batches come in another order each time
    config.training.seed = 0  # seed of the initialisation
    config.training.data_seed = 0  # seed of the documents
    config.training.evaluate_every = 500  # steps between evaluations
    config.training.evaluation_documents = 320  # documents of an evaluation, split dev
    # Accuracy on these documents, 0 to 1, at which training ends early; None: never.
    config.training.target_accuracy = config_dict.placeholder(float)
    config.training.checkpoint_every = 5000  # steps between checkpoints
    config.training.keep_checkpoints = 2  # number of newest checkpoints that are kept; 0: all
    config.training.milestones = 0  # number of checkpoints on the way that are kept besides
    config.training.steps_per_dispatch = 100  # number of steps in one program
    config.training.gradient_accumulation = 1  # number of micro-batches of a step
    config.training.remat = "none"  # what the gradient recomputes: none, dots, full

    config.evaluation = ConfigDict()
    config.evaluation.documents = 320  # number of evaluation documents
    config.evaluation.split = "test"  # their split: train, dev, test
    # Positions at which activations are exchanged.
    config.evaluation.roles = ("key", "value", "next_key", "divider", "query")
    config.evaluation.corruptions = ("key", "value")  # roles whose token is replaced
    config.evaluation.directions = ("restore", "damage")  # clean into corrupted run, and back
    config.evaluation.resamples = 2000  # number of bootstrap samples over documents
    config.evaluation.confidence = 0.95  # level of all intervals
    config.evaluation.seed = 0  # seed of corruptions and resamples
    config.evaluation.chunk = 1  # number of patched runs that are computed at once

    # Options of further analyses, which `python -m launch.evaluate` makes of a trained run.
    config.analyses = ConfigDict()
    config.analyses.gradients = ConfigDict()  # attribution by gradient
    config.analyses.gradients.steps = 8  # number of parts of the line of integrated gradients
    config.analyses.gradients.measure = "probability"  # measure of the answer: probability, logit
    config.analyses.circuits = ConfigDict()  # search for circuits
    config.analyses.circuits.steps = 8  # number of parts of the line of eap_ig
    config.analyses.circuits.measure = "probability"  # measure of the answer: probability, logit
    config.analyses.circuits.draws = 10  # number of random circuits of every size
    config.analyses.circuits.ports = ("auto",)  # sites at which edges enter mixers; none: as wholes
    config.analyses.circuits.methods = ("eap", "eap_ig")  # exact, eap_ig_activations, atp_star too
    config.analyses.probes = ConfigDict()  # linear probes
    config.analyses.probes.documents = 2048  # least number of documents for fit and test
    # Roles whose token is read, and pair; None: those of key, value and pair that documents have.
    config.analyses.probes.targets = config_dict.placeholder(tuple)
    config.analyses.probes.test_share = 0.25  # share of the documents that is held out
    config.analyses.probes.ridge = 1e-2  # penalty on the weights
    config.analyses.subspaces = ConfigDict()  # search for subspaces
    config.analyses.subspaces.documents = 2048  # least number of documents for search and test
    config.analyses.subspaces.dimensions = 8  # number of dimensions of the subspace
    config.analyses.subspaces.steps = 200  # number of steps of Adam
    config.analyses.subspaces.learning_rate = 0.02  # learning rate of Adam
    config.analyses.subspaces.batch_size = 64  # number of documents of a step
    config.analyses.subspaces.test_share = 0.25  # share of the documents that is held out
    config.analyses.generalization = ConfigDict()  # other documents than in training
    # Changes of the task, "pairs=16+queries=4"; None: half, twice and four times the size.
    config.analyses.generalization.settings = config_dict.placeholder(tuple)
    config.analyses.capacity = ConfigDict()  # recall against the number of pairs
    # Numbers of pairs; None: powers of two up to the task's.
    config.analyses.capacity.pairs = config_dict.placeholder(tuple)
    return config


def short() -> ConfigDict:
    """`base` for trainings of minutes: larger batches, more frequent evaluation and checkpoints."""
    config = base()
    config.training.batch_size = 64  # number of documents per step
    config.training.evaluate_every = 250  # steps between evaluations
    config.training.checkpoint_every = 1000  # steps between checkpoints
    return config


def short_recall(pairs: int, keys: int) -> ConfigDict:
    """`short`, on documents of so many pairs of as many different keys as values."""
    config = short()
    config.task.pairs = pairs  # number of pairs of a document
    config.task.key_vocabulary = keys  # number of different keys
    config.task.value_vocabulary = keys  # number of different values
    return config
