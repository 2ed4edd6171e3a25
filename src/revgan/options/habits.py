"""What options of other tools are called here."""

from collections.abc import Collection

_OURS = {
    # CycleGAN and pix2pix
    "checkpoints_dir": "run",
    "continue_train": "resume",
    "gpu_ids": "runtime.device|device",
    "load_size": "data.resize|resize",
    "crop_size": "data.crop",
    "netg": "generator.model",
    "netd": "discriminator.form",
    "ngf": "generator.width",
    "ndf": "discriminator.width",
    "n_epochs": "training.epochs",
    "gan_mode": "losses.adversarial",
    "lambda_a": "losses.cycle_weight",
    "lambda_b": "losses.cycle_weight",
    "lambda_identity": "losses.identity_weight",
    "lambda_l1": "losses.l1_weight",
    "input_nc": "data.channels_a",
    "output_nc": "data.channels_b",
    "no_flip": "data.flip false",
    "no_dropout": "generator.dropout 0",
    "init_type": "generator.init",
    "num_threads": "runtime.workers",
    "save_epoch_freq": "training.checkpoint_every",
    "print_freq": "training.log_every",
    "use_wandb": "runtime.wandb true",
    # PyTorch Lightning, nnU-Net, MONAI, timm and others
    "accelerator": "runtime.device|device",
    "amp": "runtime.precision",
    "fp16": "runtime.precision",
    "mixed_precision": "runtime.precision",
    "max_epochs": "training.epochs",
    "max_steps": "training.steps",
    "iterations": "training.steps",
    "learning_rate": "optimizer.lr",
    "num_workers": "runtime.workers",
    "patch_size": "data.crop",
    "roi_size": "window",
    "sw_overlap": "overlap",
    "step_size": "overlap",
    "tile": "window",
    "tile_size": "window",
    "img_size": "data.crop",
    "image_size": "data.crop",
    "ckpt": "resume",
    "checkpoint": "resume",
}
"""For each option, in lower case, ours that mean it, as commands have different ones."""

_IN_WORDS = {
    "dataroot": "name the folder without an option, as in revgan train FOLDER or revgan translate "
    "RUN FOLDER OUTPUT",
    "results_dir": "name the output last, as in revgan translate RUN FOLDER OUTPUT",
    "n_epochs_decay": "--training.epochs counts all epochs, and the learning rate falls in their "
    "second half",
    "name": "--run FOLDER is where a run goes",
    "preprocess": "--data.resize scales images and --data.crop cuts squares out of them",
}
"""Likewise, where there is none."""


def of_other_tools(option: str, known: Collection[str]) -> str | None:
    """What to do in place of an option of another tool; None if it is of none.

    Args:
        option: as it was given, such as "--load_size".
        known: the options of the command.
    """
    name = option.removeprefix("--").lower().replace("-", "_")
    ours = [f"--{each}" for each in _OURS[name].split("|")] if name in _OURS else []
    found = next((each for each in ours if each.split()[0] in known), None)
    if found is not None:
        return f"here that is {found}"
    if ours:  # such as of training, where something is translated
        return None
    same = [each for each in known if each.rpartition(".")[2] == name and "." in each]
    if len(same) == 1:  # such as --lr, --beta1 or --batch_size
        return f"here that is {same[0]}"
    return _IN_WORDS.get(name)
