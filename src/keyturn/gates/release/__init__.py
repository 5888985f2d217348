"""The release gate: lets a model out when people granted it and its whole chain of custody holds, and makes its pack."""
