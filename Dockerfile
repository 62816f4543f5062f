# An image with gli and its development tools, by the steps of the Makefile.
#
#   docker build -t gli .                                                            for a CPU
#   docker build -t gli --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 .       for NVIDIA GPUs
#   docker run --rm -v "$PWD/lightning_logs:/gli/lightning_logs" gli fit --config gli_synthetic
#   docker run --rm --gpus all gli fit --config gli_synthetic
#
# The base needs Debian's packages, or Python 3.11 or newer and make. PyTorch's packages for Linux bring their own CUDA
# libraries; the CUDA base only tells the container runtime to pass the driver on.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && (python3 -c 'import ensurepip' || apt-get install --yes --no-install-recommends python3 python3-venv) \
    && rm -rf /var/lib/apt/lists/*

FROM tools
WORKDIR /gli
COPY . .
RUN make install
ENV PATH=/gli/.venv/bin:$PATH
ENTRYPOINT ["gli"]
CMD ["--help"]
