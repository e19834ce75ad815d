"""Planted defects in the device that tests of one rule catch; `device.py` has those that stories catch."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("Restrictions waits for the first unlock", "mdmsim.device.commands.not_now", "        \"Restrictions\",\n", "", "tests/device/commands/test_not_now.py::test_an_iphone_carries_these_out_before_its_first_unlock"),
        ("a device does not note its NotNow", "mdmsim.device.commands.execute", "    voice.not_now = condition\n", "", "tests/device/commands/test_not_now.py::test_an_iphone_that_said_notnow_last_asks_again_when_it_is_unlocked"),
        ("profiles of a given date never go", "mdmsim.device.profiles.removal", "    if profile.removal_date is not None:\n", "    if False:\n", "tests/device/test_removal.py::test_a_profile_goes_at_its_removal_date"),
        ("an endless duration is an error", "mdmsim.device.profiles.removal", "    if duration is not None and abs(duration) * 1000 < LONGEST_MS:\n", "    if duration is not None:\n", "tests/device/test_removal.py::test_a_duration_beyond_all_dates_is_no_limit"),
        ("an iPhone of today can be unsupervised", "mdmsim.device.remote_management", "configuration.is_supervised or always(ALWAYS_SUPERVISED)", "configuration.is_supervised", "tests/device/test_remote_management.py::test_a_key_changes_what_the_device_takes"),
        ("Remote Management can be skipped on an iPhone", "mdmsim.device.remote_management", "configuration.is_mandatory or always(ALWAYS_MANDATORY)", "configuration.is_mandatory", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an unsupervised device keeps its enrollment profile", "mdmsim.device.remote_management", "configuration.is_mdm_removable or not supervised", "configuration.is_mdm_removable", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an unsupervised iPhone waits for DeviceConfigured", "mdmsim.device.remote_management", "configuration.await_device_configured and (supervised or not mobile)", "configuration.await_device_configured", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("a Mac refuses to be paired", "mdmsim.device.remote_management", "configuration.allow_pairing or not known(\"allow_pairing\")", "configuration.allow_pairing", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an unsupervised iPhone knows supervising hosts", "mdmsim.device.remote_management", "if supervised and known", "if known", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an iPhone goes through Setup Assistant by itself", "mdmsim.device.remote_management", " and known(\"auto_advance_setup\")", "", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an old iPhone returns to service", "mdmsim.device.remote_management", " and known(\"is_return_to_service\")", "", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("skipped panes are shown", "mdmsim.device.remote_management", "for pane in there if pane not in skipped)", "for pane in there)", "tests/device/test_remote_management.py::test_a_key_changes_what_the_device_takes"),
        ("a key is known before its release", "mdmsim.device.remote_management", "since is not None and persona.at_least(since)\n\n    def always", "since is not None\n\n    def always", "tests/device/test_remote_management.py::test_a_device_that_does_not_know_a_key_ignores_it"),
        ("an updated device goes on without a restart", "mdmsim.device.system_update", "    restart(work, why=\"update\")\n", "", "tests/device/test_system_update.py::test_the_updated_device_restarts_and_answers_with_the_new_release"),
        ("a device is updated to an older release", "mdmsim.device.system_update", " and version_key(release.version) > version_key(persona.os_version)", "", "tests/device/test_system_update.py::test_the_newest_release_has_nothing_to_be_updated_to"),
    )
)  # fmt: skip
