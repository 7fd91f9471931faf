"""All trainings of one seed begin alike."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.exact_resume import derive_seed, seed_generators

# keeps this seed apart from those of ExactResumeHook's samples and iterations
START = 3


@HOOKS.register_module()
class SameStartHook(Hook):
    """Let trainings of one seed begin with the same weights of the student.

    A distillation builds the teacher after the student, which draws random numbers,
    and the student's weights are initialised after that. Seeded anew just before,
    they are those of the student alone: with ExactResumeHook, whose seeds are a
    function of the iteration, two methods then differ in nothing but the method,
    and may be compared seed by seed.

    Example:
        >>> custom_hooks = [dict(type='SameStartHook')]
    """

    # nothing may draw between this and the initialisation
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Seed all generators; the weights are initialised next."""
        seed_generators(derive_seed(runner.seed, START), accelerators=True)
