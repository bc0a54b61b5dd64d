"""The capture process: records an input device, and writes its frames to the desk."""
