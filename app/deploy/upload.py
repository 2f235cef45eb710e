"""Sends a Space step by step, and says in words what stopped it and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from app.deploy.space import Space

STEPS = {
    "make the Space": "the Space is there",
    "set its variables": "its variables are set",
    "send its files": "its files are sent",
    "ask for its hardware": "its hardware is asked for",
}
"""What there is to do, in order, and what holds once it is done. Each can be done again without harm."""


def send(space: Space, api: HfApi) -> Iterator[str]:
    """Take the steps of STEPS; after each comes a sentence that says what was done.

    The Space is made if it is not there; its files go in one commit, and those that stand in its folders from an
    earlier version are removed. Raises what huggingface_hub raises; `explain` puts it in words.
    """
    hardware = SpaceHardware(space.hardware)
    made = api.create_repo(
        space.repo_id, repo_type="space", space_sdk=space.sdk, space_hardware=hardware, exist_ok=True
    )
    yield f"The Space is {made}"
    for name, value in space.variables.items():
        api.add_space_variable(space.repo_id, name, value)
    yield f"Set {', '.join(f'{name}={value}' for name, value in space.variables.items())}."
    there = api.list_repo_files(space.repo_id, repo_type="space")
    old = [path for path in there if path.split("/")[0] in space.folders and path not in space.files]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, content) for path, content in space.files.items()),
        *(CommitOperationDelete(path) for path in old),
    ]
    commit = api.create_commit(
        space.repo_id, operations, repo_type="space", commit_message="Update from the project's repository"
    )
    yield f"Sent {len(space.files)} files, removed {len(old)}, commit {commit.oid[:12]}."
    runtime = api.get_space_runtime(space.repo_id)
    if space.hardware not in (runtime.hardware, runtime.requested_hardware):
        api.request_space_hardware(space.repo_id, hardware)
    yield f"Its hardware is {space.hardware}."


def what_is_left(left: Sequence[str]) -> str:
    """What was done and what was not, given the last names of STEPS."""
    done = [holds for step, holds in STEPS.items() if step not in left]
    return (
        f"Done: {', '.join(done) or 'nothing'}. Left to do: {', '.join(left)}; the same command does it when this is "
        "settled."
    )


def explain(error: Exception) -> str:
    """What went wrong, in a sentence or two; a text of the hub's that it quotes may hold anything, a token too."""
    chain = _causes(error)
    if isinstance(error, ValueError) and "README.md" in str(error):
        return f"The hub does not take this README.md: {error}"
    if any(isinstance(one, OfflineModeIsEnabled) for one in chain):
        return "HF_HUB_OFFLINE is set, so nothing was sent: unset it and run this again."
    place = "" if chain[-1] is error else f" ({error})"
    last = chain[-1]
    if isinstance(last, HfHubHTTPError):
        return f"The hub refused: {last.server_message or last}{place}"
    if isinstance(last, OSError | HTTPError):
        return f"The hub could not be reached: {last}{place}"
    return f"The hub gave an answer that this program does not understand ({type(last).__name__}: {last}){place}."


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and what it says caused it, down to the first that tells of the hub or of the way there."""
    chain = [error]
    while not isinstance(chain[-1], HTTPError | OSError) and chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain
