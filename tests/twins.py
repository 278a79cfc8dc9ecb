"""Slow, obvious twins of what is fast."""

import numpy as np

from tfmem import models
from tfmem.training import batches


def numpy_sgd(problem, trial, steps, order=None, view=None):
    """SGD on one trial of a dense network, example by example, in float64.

    Args:
      problem: its images or representations are in memory.
      trial: its number.
      steps: how many.
      order: (problem, trial, epoch) -> the examples of an epoch; the batch order by default.
      view: (problem, trial, epoch) -> (example -> image); the images as they are by default.

    Returns:
      The weights, in the order of the model's.
    """
    config, dataset = problem.config, problem.dataset
    subset = problem.subset(trial)
    weights = [
        weight.astype(np.float64)
        for weight in models.initial_weights(problem.build_model(), config.seed, trial)
    ]
    velocities = [np.zeros_like(weight) for weight in weights]
    scale = dataset.pixel_max or 1
    order = order or (lambda _, trial, epoch: batches.batch_order(config, subset, trial, epoch))
    view = view or (lambda *_: lambda example: dataset.train.images[example])
    for step in range(steps):
        epoch, batch = divmod(step, problem.steps_per_epoch)
        see = view(problem, trial, epoch)
        first = batch * config.batch_size
        examples = order(problem, trial, epoch)[first : first + config.batch_size]
        gradients = [np.zeros_like(weight) for weight in weights]
        for example in examples:
            outputs = [see(example).reshape(-1) / scale]
            for layer in range(0, len(weights), 2):
                z = outputs[-1] @ weights[layer] + weights[layer + 1]
                outputs.append(np.maximum(z, 0) if layer < len(weights) - 2 else z)
            delta = np.exp(outputs[-1]) / np.exp(outputs[-1]).sum()
            delta[dataset.train.labels[example]] -= 1
            for layer in range(len(weights) - 2, -1, -2):
                gradients[layer] += np.outer(outputs[layer // 2], delta) / len(examples)
                gradients[layer + 1] += delta / len(examples)
                delta = (weights[layer] @ delta) * (outputs[layer // 2] > 0)
        rate = float(problem.schedule()(step))
        for i, gradient in enumerate(gradients):
            velocities[i] = config.momentum * velocities[i] - rate * gradient
            weights[i] = weights[i] * (1 - config.weight_decay * rate) + velocities[i]
    return weights
