"""Planted defects in what devices read and install: plists, profiles, their removal."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("a profile whose time has passed is installed", "mdmsim.device.profiles.plan", "    if removal is None or removal > now_ms:\n", "    if True:\n", "tests/device/test_removal.py::test_a_removal_date_that_has_passed_is_refused"),
        ("of removal date and duration the later counts", "mdmsim.device.profiles.removal", "    return min(times", "    return max(times", "tests/device/test_removal.py::test_of_date_and_duration_the_earlier_counts"),
        ("an iPhone takes a profile without version", "mdmsim.device.profiles.plan", "    if profile.version is None:\n", "    if False:\n", "tests/device/profiles/test_plan.py::test_an_iphone_refuses_a_profile_without_an_integer_as_version"),
        ("an iPhone takes a payload without version", "mdmsim.device.profiles.plan", "        if payload.version is None:\n", "        if False:\n", "tests/device/profiles/test_plan.py::test_an_iphone_refuses_a_payload_without_an_integer_as_version"),
        ("a person installs what only MDM may", "mdmsim.device.profiles.plan", '        if broken.rule == "manual":\n', "        if False:\n", "tests/device/profiles/test_plan.py::test_a_person_cannot_install_on_a_mac_what_only_mdm_may"),
        ("a second payload of a type that may be there once has another code", "mdmsim.device.profiles.plan", '        if broken.rule == "single":\n', "        if False:\n", "tests/device/profiles/test_plan.py::test_a_second_payload_of_a_type_that_may_be_there_once_has_apples_code"),
        ("a document type with declarations is read", "mdmsim.protocol.device_plist", '        if b"[" in self._data[at : self._at]:\n', "        if False:\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("an element is closed by any end tag", "mdmsim.protocol.device_plist", '        if not self._data.startswith(b"</" + name, self._at):\n', "        if False:\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("a plist may hold a second value", "mdmsim.protocol.device_plist", '        if self._content(depth) is not None:\n            raise Unreadable("a second', '        if False:\n            raise Unreadable("a second', "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("a value needs no key in a dictionary", "mdmsim.protocol.device_plist", "                if not is_key:\n", "                if False:\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("a plist may be nested without end", "mdmsim.protocol.device_plist", "        if depth >= MAX_DEPTH:\n", "        if False:\n", "tests/protocol/test_device_plist.py::test_the_limits_hold"),
        ("a plist may hold any number of values", "mdmsim.protocol.device_plist", "        if self._values > MAX_VALUES:\n", "        if False:\n", "tests/protocol/test_device_plist.py::test_the_limits_hold"),
        ("an integer may have any number of bits", "mdmsim.protocol.device_plist", "        if value >= 2**64 or (match[1] == b\"-\" and value > 2**63):\n", "        if False:\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("a comment may stand inside a string", "mdmsim.protocol.device_plist", "                raise Unreadable(\"a comment inside a string, where only CDATA may stand\")\n", "                self._skip_past(b\"-->\", at, \"a comment\")\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("half a surrogate pair is a character", "mdmsim.protocol.device_plist", "number > 0x10FFFF or 0xD800 <= number < 0xE000", "number > 0x10FFFF", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("a comment before the document may be empty", "mdmsim.protocol.device_plist", "self._skip_past(b\"-->\", at + 5, \"a comment\")", "self._skip_past(b\"-->\", at + 4, \"a comment\")", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("unknown elements are strings", "mdmsim.protocol.device_plist", "            raise Unreadable(f\"<{name[:40].decode('utf-8', 'replace')}> is no element of a plist\")\n", "            parse = _XmlReader._string\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("any element may be empty", "mdmsim.protocol.device_plist", "                raise Unreadable(f\"an empty <{name.decode()}/>\")\n", "                return None, False\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
        ("the CF$UID of a keyed archive is read", "mdmsim.protocol.device_plist", "        if len(result) == 1 and type(result.get(\"CF$UID\")) in (int, float):\n", "        if False:\n", "tests/protocol/test_device_plist.py::test_odd_plists_are_read_as_devices_read_them"),
    )
)  # fmt: skip
