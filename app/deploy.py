"""Makes or updates a Space: `python -m app.deploy OWNER/NAME [--hardware …] [--sdk gradio|docker] [--dry-run]`.

The token comes from HF_TOKEN or from `hf auth login`; it is neither taken as an argument nor printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from app.space import SDKS, ZERO_GPU, Space, SpaceError, make_space, split_front_matter


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after a sentence that says what went wrong."""
    options = make_parser().parse_args(arguments)
    hardware = options.hardware or (ZERO_GPU if options.sdk == "gradio" else "cpu-basic")
    try:
        space = make_space(options.space, options.sdk, hardware, options.model)
        if options.dry_run:
            print(describe(space))
            return 0
        if not get_token():
            raise SpaceError("There is no token: set HF_TOKEN, or log in with `hf auth login`, and run this again.")
        print(send(space, HfApi()))
        return 0
    except SpaceError as error:
        return complain(str(error))
    except OfflineModeIsEnabled:
        return complain("HF_HUB_OFFLINE is set, so nothing was sent: unset it and run this again.")
    except HFValidationError as error:
        return complain(f"{options.space} is no name for a Space: {error}")
    except HfHubHTTPError as error:
        return complain(f"The hub refused: {error.server_message or error}")
    except (OSError, HTTPError) as error:
        return complain(f"The hub could not be reached: {error}")
    except ValueError as error:
        return complain(f"The hub does not take this README.md: {error}")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.deploy", description="Make or update a Space with this page.")
    parser.add_argument("space", metavar="OWNER/NAME", help="the Space; it is made where it does not exist")
    known = [str(flavor.value) for flavor in SpaceHardware]
    parser.add_argument(
        "--hardware", choices=known, metavar="HARDWARE",
        help=f"{', '.join(known)} [{ZERO_GPU}; cpu-basic with --sdk docker]",
    )  # fmt: skip
    parser.add_argument("--sdk", choices=SDKS, default="gradio", help="how the Space runs [%(default)s]")
    parser.add_argument(
        "--model", default="auto",
        help="model it starts with; auto is LLaVA-1.5-7B on a GPU and pocket on a CPU [%(default)s]",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    return parser


def describe(space: Space) -> str:
    """What would be sent, as text."""
    matter, _ = split_front_matter(space.files["README.md"].decode())
    total = sum(len(content) for content in space.files.values())
    needs = [line for line in space.files["requirements.txt"].decode().splitlines() if not line.startswith("#")]
    return "\n".join(
        [
            f"Space       {space.repo_id}",
            f"SDK         {space.sdk}",
            f"hardware    {space.hardware}",
            *(f"variable    {name}={value}" for name, value in space.variables.items()),
            *(f"front       {name}: {value}" for name, value in matter.items()),
            *(f"requires    {line}" for line in needs),
            *(f"{len(content):>11,} {path}" for path, content in space.files.items()),
            f"{total:>11,} bytes in {len(space.files)} files; nothing was sent.",
        ]
    )


def send(space: Space, api: HfApi) -> str:
    """Make the Space if it is not there, set its variables, send its files in one commit, ask for its hardware.

    Files that stand in its folders from an earlier version are removed. Returns what was done, with the address.
    """
    hardware = SpaceHardware(space.hardware)
    made = api.create_repo(
        space.repo_id, repo_type="space", space_sdk=space.sdk, space_hardware=hardware, exist_ok=True
    )
    for name, value in space.variables.items():
        api.add_space_variable(space.repo_id, name, value)
    there = api.list_repo_files(space.repo_id, repo_type="space")
    old = [path for path in there if path.split("/")[0] in space.folders and path not in space.files]
    operations = [
        *(CommitOperationAdd(path, content) for path, content in space.files.items()),
        *(CommitOperationDelete(path) for path in old),
    ]
    commit = api.create_commit(
        space.repo_id, operations, repo_type="space", commit_message="Update from the project's repository"
    )
    runtime = api.get_space_runtime(space.repo_id)
    if space.hardware not in (runtime.hardware, runtime.requested_hardware):
        api.request_space_hardware(space.repo_id, hardware)
    return f"Sent {len(space.files)} files, removed {len(old)}, commit {commit.oid[:12]}.\n{made}"


def complain(text: str) -> int:
    """Say what went wrong, without the token should the hub have repeated it; the exit status to end with."""
    token = get_token()
    print(text.replace(token, "…") if token else text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
