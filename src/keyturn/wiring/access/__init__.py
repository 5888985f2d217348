"""Join what people ask for, agree to and take back to this machine."""
