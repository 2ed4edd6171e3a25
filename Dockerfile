# revgan with the file formats of all fields. Not built in CI, which has no Docker; a test runs its commands in a fresh
# folder. With a GPU: docker run --gpus all --shm-size 8g -v "$PWD:/data" revgan translate RUN INPUT OUTPUT
FROM python:3.12-slim
WORKDIR /opt/revgan
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src src
RUN python -m venv /opt/venv
RUN /opt/venv/bin/python -m pip install --no-cache-dir --constraint requirements.lock '.[itk,geo,zarr,slides,dicom,samples]'
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /data
ENTRYPOINT ["revgan"]
CMD ["--help"]
