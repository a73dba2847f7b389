"""The narrow waist: types, operations, specs, the `Target`, and passes that front ends and code generator share."""
