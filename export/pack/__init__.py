"""Exported models with inputs and expected outputs, in the layout of ONNX's own test cases."""
