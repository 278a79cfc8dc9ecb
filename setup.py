"""The package and its extras; settings of tools are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "tfmem" / "__init__.py").read_text())[1]

CLUSTER = ["ray>=2.60"]  # Of earlier ones nobody has looked at what they listen on.
PANDAS = ["pandas>=2.2", "pyarrow>=16"]

setup(
    name="tfmem",
    version=VERSION,
    description="What neural networks memorize and why, in TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["tfmem*", "launchers*", "analysis*"]),
    package_data={"analysis.page": ["templates/*"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "absl-py>=2.1",
        "etils[epath]>=1.7",
        "google-crc32c>=1.5",
        "importlib_resources>=6",  # TFDS 4.9.10 needs it to download and does not ask for it.
        "jinja2>=3.1",
        "keras>=3.10,<4",
        "matplotlib>=3.9",
        "numpy>=2.0,<3",
        "pillow>=10.1",
        "protobuf>=5",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "tensorflow>=2.20,<2.22",
        "tensorboard>=2.20",  # TensorFlow 2.21 no longer asks for it.
        "tensorflow-datasets>=4.9.9,<5",
        "tqdm>=4.66",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
        "cluster": CLUSTER,
        "pandas": PANDAS,
        "dev": [
            "cleanlab>=2.7",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "mypy>=1.15",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            *CLUSTER,
            *PANDAS,
        ],
    },
    entry_points={"console_scripts": ["tfmem = launchers.cli.command:main"]},
)
