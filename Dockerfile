# The quick suite of NTK-SAP, or any other command:
#   docker build -t pai-bench . && docker run --rm pai-bench
#   docker run --rm -v "$PWD/runs:/home/bench/runs" pai-bench run quick --methods snip
# PyTorch is the build for CUDA that the package index has; for a small image without it, give the
# address of PyTorch's index of CPU builds: docker build --build-arg TORCH_INDEX=... -t pai-bench .
FROM python:3.12-slim

ARG TORCH_INDEX
WORKDIR /opt/pai-bench
COPY pyproject.toml constraints.txt README.md LICENSE CITATION.cff benchmark.yaml ./
COPY pai_bench pai_bench
COPY baselines baselines
COPY reproductions reproductions
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} .

# Whoever runs it owns what it writes.
RUN useradd --create-home bench
USER bench
WORKDIR /home/bench
ENTRYPOINT ["pai-bench"]
CMD ["reproduce", "ntk-sap", "--wandb", "disabled"]
