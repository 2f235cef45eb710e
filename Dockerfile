# The page in a container: answers with the pocket model, on a CPU, with no network.
#     docker build -t adafv . && docker run --rm -p 7860:7860 adafv
# README.md has the commands for a GPU, which takes a torch of its own (TORCH_INDEX) and a volume for the model.
FROM python:3.11-slim-bookworm

RUN useradd --create-home --uid 1000 user
USER 1000
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    HF_HOME=/home/user/.cache/huggingface \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    ADAFV_MODEL=auto \
    ADAFV_FALLBACK=1
WORKDIR /home/user/app
# A new volume that is put here belongs to the user.
RUN mkdir -p "$HF_HOME"

# What changes seldom comes first: a change of the sources installs nothing anew.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --chown=user requirements.txt ./
RUN pip install --user --no-cache-dir --disable-pip-version-check --extra-index-url "$TORCH_INDEX" -r requirements.txt
COPY --chown=user LICENSE README.md ./
COPY --chown=user assets ./assets
COPY --chown=user adafv_core ./adafv_core
COPY --chown=user app ./app

EXPOSE 7860
# The first start downloads the model; a start that is done sooner is healthy at once.
HEALTHCHECK --interval=30s --timeout=5s --start-period=1h --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ.get('GRADIO_SERVER_PORT') or 7860}/config\", timeout=4)"]
CMD ["python", "app/main.py"]
