"""The mathematics of mixing: functions on tensors, without parameters."""
