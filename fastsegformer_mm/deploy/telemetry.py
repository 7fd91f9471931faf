"""Nothing is sent anywhere."""


def decline_telemetry() -> None:
    """Keep OpenVINO's converter and NNCF from reporting their use to their makers.

    Both would, unless declined, through the package openvino-telemetry: by a process
    forked for each event, which takes tens of seconds where no network is, as on most
    production lines. This declines for the running process only; the user's own choice
    (``opt_in_out``) stays as it is.
    """
    try:
        from openvino_telemetry.main import Telemetry
        from openvino_telemetry.utils.opt_in_checker import (
            ConsentCheckResult,
            OptInChecker,
        )
    except ImportError:
        # without the package nothing is sent
        return
    OptInChecker.check = lambda *args, **kwargs: ConsentCheckResult.DECLINED
    # one object reports for all; it may be there already, from before this was called
    Telemetry(app_name='declined', app_version='', tid='').consent = False
