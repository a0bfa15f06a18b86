"""All fields of an experiment, with the defaults that configs start from."""

from ml_collections import ConfigDict, config_dict


def base() -> ConfigDict:
    """The study's "AR 32", two layers of width 64; each config changes what it is about."""
    config = ConfigDict()

    config.task = ConfigDict()
    config.task.name = "associative_recall"  # a name in mecheval_jax.tasks.TASKS
    config.task.pairs = 16  # key-value pairs of a document, at most
    config.task.min_pairs = config_dict.placeholder(int)  # at least; None: always `pairs`
    config.task.key_vocabulary = 4096  # size of the class of keys
    config.task.value_vocabulary = 4096  # size of the class of values
    config.task.reverse = False  # ask for the key of a value
    config.task.filler = 0  # filler tokens between two pairs
    config.task.filler_vocabulary = 64  # size of the class of fillers
    config.task.queries = 1  # questions per document
    config.task.held_out = 0.0  # fraction of (key, value) cells that only test asks
    config.task.fresh_replacement = False  # corruptions never repeat a token of the document
    config.task.seed = 0  # of the held-out cells

    config.model = ConfigDict()
    # A name in mecheval_jax.mixers.ARCHITECTURES, module:Class of your own, or one a layer: "a,b".
    config.model.mixer = "attention"
    config.model.layers = 2  # blocks
    config.model.width = 64  # channels of the residual stream
    config.model.max_length = 1024  # length limit; sets the time scale of implicit filters
    config.model.positions = "none"  # learned or none; rotary or alibi: inside the mixers
    config.model.feed_forward = "mlp"  # mlp, glu, identity, none; Mamba blocks have none
    config.model.canon = 0  # taps of a residual convolution before every mixer; 0: none
    config.model.mixer_options = ConfigDict()  # fields of the mixer; a list is one value a layer
    config.model.mixer_options.unlock()
    config.model.dtype = "float32"  # of the activations; or bfloat16
    config.model.hidden = 0  # inner width of the feed-forward part; 0: four times the width
    config.model.activation = "gelu"  # of the feed-forward part: gelu, gelu_tanh, silu, relu
    config.model.feed_forward_bias = True  # biases in the feed-forward part
    config.model.norm = "auto"  # layer, rms; auto: rms in Mamba blocks alone
    config.model.output_norm = "layer"  # layer or rms, before the output head
    config.model.norm_epsilon = 1e-5  # of all norms
    config.model.parallel = False  # mixer and feed-forward part read the same residual stream
    config.model.tied = True  # the output head is the embedding

    config.training = ConfigDict()
    config.training.steps = 50_016  # optimizer steps
    config.training.batch_size = 32  # documents per step
    config.training.learning_rate = 1e-3  # the highest of the schedule
    config.training.weight_decay = 0.0  # decoupled, of every parameter
    config.training.beta1 = 0.9  # of Adam's running mean of gradients
    config.training.beta2 = 0.999  # of Adam's running mean of their squares
    config.training.warmup_fraction = 0.1  # share of the steps in which the rate rises
    config.training.decay = "cosine"  # cosine, linear, constant
    config.training.training_batches = config_dict.placeholder(int)  # None: fresh documents
    config.training.seed = 0  # of the initialisation
    config.training.data_seed = 0  # of the documents
    config.training.evaluate_every = 500  # steps
    config.training.evaluation_documents = 320  # of such an evaluation, split dev
    # Accuracy on them, 0 to 1, at which training ends early; None: never.
    config.training.target_accuracy = config_dict.placeholder(float)
    config.training.checkpoint_every = 5000  # steps
    config.training.keep_checkpoints = 2  # the newest that are kept; 0: all
    config.training.steps_per_dispatch = 100  # steps compiled into one program
    config.training.gradient_accumulation = 1  # micro-batches of a step, one after another
    config.training.remat = "none"  # computed again for the gradient: none, dots, full

    config.evaluation = ConfigDict()
    config.evaluation.documents = 320  # evaluation documents
    config.evaluation.split = "test"  # train, dev, test
    # Positions at which activations are exchanged.
    config.evaluation.roles = ("key", "value", "next_key", "divider", "query")
    config.evaluation.corruptions = ("key", "value")  # whose token is replaced
    config.evaluation.directions = ("restore", "damage")  # clean into corrupted, and back
    config.evaluation.resamples = 2000  # bootstrap samples over documents
    config.evaluation.confidence = 0.95  # of all intervals
    config.evaluation.seed = 0  # of corruptions and resamples
    config.evaluation.chunk = 1  # patched runs computed at once
    return config


def short() -> ConfigDict:
    """`base` for trainings of minutes: larger batches, looked at and kept more often."""
    config = base()
    config.training.batch_size = 64  # documents per step
    config.training.evaluate_every = 250  # steps
    config.training.checkpoint_every = 1000  # steps
    return config
