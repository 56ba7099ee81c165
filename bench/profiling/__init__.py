"""Where the time goes: layers and operators of one step, in a pass of its own, never beside a timed one."""
