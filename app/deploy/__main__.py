"""Makes or updates a Space: `python -m app.deploy OWNER/NAME [--hardware …] [--sdk gradio|docker] [--dry-run]`.

The token comes from HF_TOKEN or from `hf auth login`; it is neither taken as an argument nor printed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is imported: large files go by the LFS protocol

from huggingface_hub import HfApi, SpaceHardware, get_token

from app.deploy.space import SDKS, ZERO_GPU, Space, SpaceError, make_space, split_front_matter
from app.deploy.upload import STEPS, explain, send, what_is_left


def main(arguments: Sequence[str] | None = None, prog: str = "python -m app.deploy") -> int:
    """The exit status: 0; 1, or 130 after Ctrl-C, after a sentence that says what went wrong and what is left to do."""
    options = make_parser(prog).parse_args(arguments)
    left = list(STEPS)
    try:
        space = make_space(options.space, options.sdk, hardware_of(options), options.model)
        if options.dry_run:
            say(describe(space))
            return 0
        if not get_token():
            raise SpaceError("There is no token: set HF_TOKEN, or log in with `hf auth login`, and run this again.")
        for line in left_out(space):
            say(line)
        for done in send(space, HfApi()):
            say(done)
            left.pop(0)
        return 0
    except KeyboardInterrupt:
        return complain(f"Stopped. {what_is_left(left)}", 130)
    except SpaceError as error:
        return complain(str(error))
    except Exception as error:
        return complain(f"{explain(error)}\n{what_is_left(left)}")


def hardware_of(options: argparse.Namespace) -> str:
    """The hardware that was asked for; else ZeroGPU, or a CPU for a container."""
    return str(options.hardware or (ZERO_GPU if options.sdk == "gradio" else "cpu-basic"))


def make_parser(prog: str = "python -m app.deploy") -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog=prog, description="Make or update a Space with this page.")
    parser.add_argument("space", metavar="OWNER/NAME", help="the Space; it is made where it does not exist")
    known = [str(flavor.value) for flavor in SpaceHardware]
    parser.add_argument(
        "--hardware",
        choices=known,
        metavar="HARDWARE",
        help=f"{', '.join(known)} [{ZERO_GPU}; cpu-basic with --sdk docker]",
    )
    parser.add_argument("--sdk", choices=SDKS, default="gradio", help="how the Space runs [%(default)s]")
    parser.add_argument(
        "--model",
        default="auto",
        help="model it starts with; auto is LLaVA-1.5-7B on a GPU and pocket on a CPU [%(default)s]",
    )
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
            *left_out(space),
            f"{total:>11,} bytes in {len(space.files)} files; nothing was sent.",
        ]
    )


def left_out(space: Space) -> list[str]:
    """A line about new files that stay behind, if there are any."""
    if not space.left_out:
        return []
    many, shown = len(space.left_out), ", ".join(space.left_out[:5])
    count = "1 file that git does not know is" if many == 1 else f"{many} files that git does not know are"
    return [f"{count} left out (`git add` what belongs to the page): {shown}{', …' if many > 5 else ''}"]


def say(text: str) -> None:
    """A line of what was done."""
    print(without_secrets(text), flush=True)


def complain(text: str, status: int = 1) -> int:
    """Say what went wrong; the exit status to end with."""
    print(without_secrets(text), file=sys.stderr)
    return status


def without_secrets(text: str) -> str:
    """A text without the token and without signed addresses, should the hub have repeated one."""
    token = get_token()
    text = text.replace(token, "…") if token else text
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", r"\1?…", re.sub(r"hf_\w{8,}", "…", text))


if __name__ == "__main__":
    sys.exit(main())
