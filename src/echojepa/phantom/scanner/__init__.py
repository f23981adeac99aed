"""From a scene to pictures: settings, beams, artefacts, grey display, colour Doppler. It knows no heart."""
