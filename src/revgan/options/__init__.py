"""The parts of the command line that commands share: the parser, and the options of runs."""

from revgan.options.parser import Parser
from revgan.options.runs import (
    add_folder_option,
    add_run_options,
    check_startable,
    networks_of,
    require_images,
    run_config,
    start_from,
    stored_config,
)
from revgan.options.trained import (
    add_names_option,
    add_test_options,
    add_trust_option,
    add_window_options,
    models_of_runs,
    named_runs,
    sample_scans,
    trained_config,
    window_options,
)
from revgan.options.trust import add_class_trust, trust_all, trust_given

__all__ = [
    "Parser",
    "add_class_trust",
    "add_folder_option",
    "add_names_option",
    "add_run_options",
    "add_test_options",
    "add_trust_option",
    "add_window_options",
    "check_startable",
    "models_of_runs",
    "named_runs",
    "networks_of",
    "require_images",
    "run_config",
    "sample_scans",
    "start_from",
    "stored_config",
    "trained_config",
    "trust_all",
    "trust_given",
    "window_options",
]
