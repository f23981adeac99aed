"""EchoJEPA: latent-predictive foundation models for echocardiography."""

__version__ = "0.1.0"
