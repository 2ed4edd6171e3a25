"""Puts a model on the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path

from revgan.data.preparation import Preparation
from revgan.errors import UserError, one_line
from revgan.networks.hub import WANTED, is_hub_name
from revgan.networks.pretrained import load_generator
from revgan.sharing.card import model_card
from revgan.training.runs import RunFolder


@dataclass(frozen=True)
class PushOptions:
    """What the hub is told besides the model.

    Attributes:
        private: whether only the owner sees a new repository.
        about: a few sentences on the data, for the card.
        license: of the model, by the hub's name for it.
        message: of the commit.
    """

    private: bool = False
    about: str = ""
    license: str = ""
    message: str = "Upload a model by revgan"


def card_of(source: Path, name: str, options: PushOptions) -> str:
    """The card of the model in a run or model folder, see `push`."""
    folder = _model(source)
    # Loaded, so that nothing is shared that doesn't work.
    return model_card(
        name,
        load_generator(folder),
        Preparation.read(folder),
        RunFolder(source) if folder != source else None,
        about=options.about,
        license=options.license,
    )


def _model(source: Path) -> Path:
    return source / "model" if (source / "model").is_dir() else source


def push(source: Path, name: str, options: PushOptions) -> str:
    """Puts a model and its card into a repository of the hub, in one commit.

    Only the model folder's own files go there: weights as safetensors, and two of text.

    Args:
        source: a run folder or a model folder.
        name: user/name; the repository is made if there is none.
        options: all else.

    Returns:
        The address of the commit.

    Raises:
        UserError: there is no model, no access, or no connection.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    wrong = UserError(f"{name} is no name on the Hugging Face hub; give one such as user/name")
    if not is_hub_name(name) or "@" in name:
        raise wrong
    folder, card = _model(source), card_of(source, name, options)
    files = [folder / file for file in WANTED if (folder / file).is_file()]
    operations = [CommitOperationAdd(path.name, path) for path in files]
    operations.append(CommitOperationAdd("README.md", card.encode()))
    disable_progress_bars()
    api = HfApi(library_name="revgan")
    try:
        api.create_repo(name, private=options.private or None, exist_ok=True)
        commit = api.create_commit(name, operations, commit_message=options.message)
    except HFValidationError as error:
        raise wrong from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise UserError(
                f"the Hugging Face hub doesn't let you write to {name}; log in with hf auth login, "
                "with a token that may write there"
            ) from error
        raise UserError(
            f"the Hugging Face hub refused {name}: {one_line(error, 200)}; nothing was changed "
            "there"
        ) from error
    except Exception as error:
        cause = error.__cause__ or error  # an upload that fails is raised from it
        if not _no_connection(cause):
            raise
        raise UserError(
            f"the Hugging Face hub can't be reached ({one_line(cause, 100)}); check the "
            "connection, HF_HUB_OFFLINE and HF_ENDPOINT, and push again"
        ) from error
    return str(commit.commit_url)


def _no_connection(error: BaseException) -> bool:
    """Whether it is an error of the library's HTTP client, which differs between its versions."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("http", "requests"))
