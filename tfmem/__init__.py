"""tfmem: what neural networks memorize, and what that is worth, in TensorFlow and Keras.

Reproduces Feldman & Zhang (2020), "What Neural Networks Memorize and Why". Importing this package
does not import TensorFlow.
"""

__version__ = "0.1.0"
