"""Names of sites, checked before Flax sees them: it passes over an entry that no module has."""

from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import MIXER, OUTSIDE_BLOCKS, SitePath


def check_site(path: str, config: ModelConfig) -> None:
    """Check that a model has a site: most are known without the trace that tells all of them.

    Raises:
        UserError: If it has not.
    """
    site = SitePath.parse(path)
    if site.layer is None:
        known = OUTSIDE_BLOCKS.values()
    elif site.layer >= config.layers:
        known = ()
    elif site.in_mixer:
        names = getattr(config.build_mixer(site.layer), "SITES", ())
        known = [f"{MIXER}{name}" for name in names]
    else:
        known = config.components(site.layer)
    if site.component not in known:
        from mecheval_jax.interventions.addresses import resolve  # which itself runs a model

        resolve(path, config)
