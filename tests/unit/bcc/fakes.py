"""Stand-ins for kernel objects: a map is a dict of bytes."""

from trapline.errors import MapError


class FakeMap:
    def __init__(self, type="HASH", key_size=4, value_size=8, max_entries=16, flags=0):
        self.fd = 42
        self.type, self.key_size, self.value_size = type, key_size, value_size
        self.max_entries, self.flags = max_entries, flags
        self.elements = {}
        self.deleted_in_batch = []

    def lookup(self, key):
        return self.elements.get(key)

    def update(self, key, value, flags=0):
        if key not in self.elements and len(self.elements) >= self.max_entries:
            raise MapError("full", errno=7)
        self.elements[key] = value

    def delete(self, key):
        return self.elements.pop(key, None) is not None

    def next_key(self, key):
        keys = list(self.elements)
        if key is None or key not in self.elements:
            return keys[0] if keys else None
        place = keys.index(key) + 1
        return keys[place] if place < len(keys) else None

    def take(self, key):
        return self.elements.pop(key, None)

    def lookup_batch(self, *, delete=False):
        found = list(self.elements.items())
        if delete:
            self.elements.clear()
        return found

    def delete_batch(self, keys):
        self.deleted_in_batch.extend(keys)
        for key in keys:
            self.elements.pop(key, None)

    def update_batch(self, items):
        self.elements.update(items)


def u32(number):
    return number.to_bytes(4, "little")


def u64(number):
    return number.to_bytes(8, "little")
