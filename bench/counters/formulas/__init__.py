"""What each dispatched operation costs in FLOPs; 1 MAC = 2.

- `table`: the formula of every operation, and `register_formula` for a user's own
- `products`, `convolution`, `recurrent`, `attention`: the formulas by kind
- `cost`: what one operation costs, the entries that its operands store, and which gradients were asked for
"""
