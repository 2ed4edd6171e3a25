"""Models on the Hugging Face hub: their names, and how they get here."""

import re
from pathlib import Path

from revgan.errors import UserError, one_line

WANTED = ("model.safetensors", "config.yaml", "intensity.yaml")
"""The files of a model folder. Nothing else is fetched: no pickles, no code."""

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Whether a name is like user/name or user/name@revision, and no path.

    Where there is a folder called user, it is a path to something that isn't there.
    """
    return bool(_NAME.fullmatch(name)) and not Path(name.partition("/")[0]).exists()


def downloaded(name: str) -> Path:
    """The folder of a model from the hub: from the cache, if it is the newest or the hub is away.

    Args:
        name: user/name, or user/name@revision with a branch, tag or commit.

    Raises:
        UserError: there is no such model, or it can't be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    repository, _, revision = name.partition("@")
    disable_progress_bars()
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(WANTED)
        )
    except GatedRepoError as error:
        raise UserError(
            f"the owner of {repository} on the Hugging Face hub lets only some people have it; ask "
            "for access on its page, then log in with hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"{repository} on the Hugging Face hub has no version {revision}; give a branch, tag "
            "or commit that it has"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"{name} is neither here nor on the Hugging Face hub; give a run folder, a model "
            "folder or the name of a model, and log in with hf auth login if that one is private"
        ) from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{name} is not here, and the Hugging Face hub can't be reached for it; check the "
            "connection, HF_HUB_OFFLINE and HF_ENDPOINT, or give a folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{name} can't be had from the Hugging Face hub: {one_line(error, 200)}; try again, or "
            "give a folder"
        ) from error
    if missing := [file for file in WANTED[:2] if not (Path(folder) / file).is_file()]:
        raise UserError(
            f"{repository} on the Hugging Face hub has no {missing[0]}, so it isn't a model of "
            "revgan; give one that revgan push put there"
        )
    return Path(folder)
