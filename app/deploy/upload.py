"""Uploads a Space step by step, and reports what went wrong and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from app.deploy.space import FOLDERS, Space

STEPS = {
    "make the Space": "the Space exists",
    "set its variables": "its variables are set",
    "send its files": "its files are sent",
    "request its hardware": "its hardware is requested",
}
"""The steps in order, and what holds after each. Every step can be repeated without harm."""


def send(space: Space, api: HfApi) -> Iterator[str]:
    """Take the steps of STEPS; yields a sentence after each.

    The Space is created if it does not exist. All files go in one commit, which also removes what an earlier version
    left in FOLDERS. (`HfApi.upload_folder` does the same from a folder on disk, but two of the files exist only in
    memory.) Raises what huggingface_hub raises; `explain` turns it into a sentence.
    """
    hardware = SpaceHardware(space.hardware)
    made = api.create_repo(
        space.repo_id, repo_type="space", space_sdk=space.sdk, space_hardware=hardware, exist_ok=True
    )
    yield f"The Space is {made}"
    for name, value in space.variables.items():
        api.add_space_variable(space.repo_id, name, value)
    yield f"Set {', '.join(f'{name}={value}' for name, value in space.variables.items())}."
    present = api.list_repo_files(space.repo_id, repo_type="space")
    old = [path for path in present if path.split("/")[0] in FOLDERS and path not in space.files]
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
    """What is done and what is not, given the remaining names of STEPS."""
    done = [holds for step, holds in STEPS.items() if step not in left]
    return (
        f"Done: {', '.join(done) or 'nothing'}. Left to do: {', '.join(left)}; run the same command again once this is "
        "resolved."
    )


def explain(error: Exception) -> str:
    """What went wrong, in a sentence or two. It may quote the Hub, whose text can hold anything, even a token."""
    chain = _causes(error)
    if isinstance(error, ValueError) and "README.md" in str(error):
        return f"The Hub rejected README.md: {error}"
    if any(isinstance(one, OfflineModeIsEnabled) for one in chain):
        return "HF_HUB_OFFLINE is set, so nothing was sent: unset it and run this again."
    last = chain[-1]
    context = "" if last is error else f" ({error})"
    if isinstance(last, HfHubHTTPError):
        return f"The Hub refused: {last.server_message or last}{context}"
    if isinstance(last, OSError | HTTPError):
        return f"The Hub could not be reached: {last}{context}"
    return f"The Hub's answer could not be understood ({type(last).__name__}: {last}){context}."


def _causes(error: BaseException) -> list[BaseException]:
    """The error and its causes, down to the first one that is about the Hub or the network."""
    chain = [error]
    while not isinstance(chain[-1], HTTPError | OSError) and chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain
