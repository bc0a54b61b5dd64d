"""Signal processing: filters, equalizer, resampling, limiter, ramps."""
