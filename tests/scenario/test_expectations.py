"""Every key of every expectation can fail: one story passes, and with that key changed it fails there, for that reason.

A step that only acts has no row; a step that judges has one for each key with which it judges.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mdmsim.report.model import Grade
from mdmsim.scenario.failure import failure_text
from mdmsim.scenario.registry import steps
from mdmsim.scenario.typed import fields_of
from tests.scenario.stories import play

HEAD = """\
scenario: test/story
title: A story for a test
platforms: [ios, macos]
needs: [virtual-time]
devices:
  phone: {passcode: "246810"}
  other: {passcode: "135790"}
  mac: {kind: mac-intel}
steps:
"""


class Row(NamedTuple):
    """`right` passes after `before`; `wrong` fails there, and what was expected and seen holds these words."""

    before: str
    right: str
    wrong: str
    expected: str
    seen: str


E = "enroll: {device: phone}"
M = "enroll: {device: mac}"
Q = "queue: {to: phone, command: ProfileList}"
LATE = "apns_fault: {name: push.delayed, seconds: 20s}"
REMOVAL = "queue: {to: phone, command: RemoveProfile, keys: {Identifier: com.example.none}, as: removal}"
ORDER = "order_device: {device: phone}"
STRANGER = "order_device: {device: phone, factory: stranger}; sync_dep: {}"
#: What the two devices of most rows do alike, and one thing that only the first one does.
BOTH = "enroll: {device: other}; enroll: {device: phone}"

TABLE: dict[tuple[str, str], Row] = {
    # commands
    ("expect_command", "command"): Row(
        f"{E}; {Q}; {REMOVAL}", "command: ProfileList", "command: removal", "RemoveProfile of iphone-01 is answered Acknowledged", "Error",
    ),
    ("expect_command", "status"): Row(
        f"{E}; {Q}", "command: ProfileList", "command: ProfileList, status: Error", "ProfileList of iphone-01 is answered Error", "Acknowledged",
    ),
    ("expect_command", "response"): Row(
        f"{E}; {Q}",
        "command: ProfileList, response: {ProfileList: {length: 1}}",
        "command: ProfileList, response: {ProfileList: {length: 5}}",
        "holds {ProfileList: {length: 5}}",
        "ProfileList has 1 entries",
    ),
    ("expect_command", "error"): Row(
        f"{E}; {REMOVAL}",
        "command: removal, status: Error, error: [12075]",
        "command: removal, status: Error, error: [12021]",
        "an error chain with 12021",
        "12075",
    ),
    ("expect_command", "served"): Row(
        f"{E}; {Q}", "command: ProfileList, served: 1", "command: ProfileList, served: 2", "served 2 times", "served 1 times",
    ),
    ("expect_command", "not_now"): Row(
        f"{E}; {Q}", "command: ProfileList, not_now: 0", "command: ProfileList, not_now: 1", "answered NotNow 1 times", "answered NotNow 0 times",
    ),
    ("expect_command", "within"): Row(
        f"{E}; {LATE}; {Q}",
        "command: ProfileList, within: 40s",
        "command: ProfileList, within: 5s",
        "ProfileList of iphone-01 is answered Acknowledged within 5s",
        "no new answer; on the server it is queued, served 0 times",
    ),
    ("query", "status"): Row(
        E, "to: phone, command: ProfileList", "to: phone, command: ProfileList, status: Error", "is answered Error", "Acknowledged",
    ),
    ("query", "response"): Row(
        E,
        "to: phone, command: ProfileList, response: {ProfileList: {length: 1}}",
        "to: phone, command: ProfileList, response: {ProfileList: {length: 5}}",
        "holds {ProfileList: {length: 5}}",
        "ProfileList has 1 entries",
    ),
    ("query", "error"): Row(
        E,
        "to: phone, command: MakeCoffee, invented: true, status: Error, error: [12021]",
        "to: phone, command: MakeCoffee, invented: true, status: Error, error: [12075]",
        "an error chain with 12075",
        "12021",
    ),
    ("query", "within"): Row(
        f"{E}; {LATE}",
        "to: phone, command: ProfileList, within: 40s",
        "to: phone, command: ProfileList, within: 5s",
        "is answered Acknowledged within 5s",
        "no new answer",
    ),
    # events
    ("expect_event", "kind"): Row(
        E,
        "device: phone, kind: device.enrolled",
        "device: phone, kind: device.unenrolled",
        "device.unenrolled for iphone-01 within 30s",
        "no device.unenrolled",
    ),
    ("expect_event", "device"): Row(
        E, "device: phone, kind: device.enrolled", "device: other, kind: device.enrolled", "device.enrolled for iphone-02", "no device.enrolled",
    ),
    ("expect_event", "data"): Row(
        E,
        "device: phone, kind: device.token-updated, data: {first: true}",
        "device: phone, kind: device.token-updated, data: {first: false}",
        "device.token-updated {first: false}",
        "first: true",
    ),
    ("expect_event", "times"): Row(
        E,
        "device: phone, kind: device.enrolled, times: 1",
        "device: phone, kind: device.enrolled, times: 2",
        "device.enrolled for iphone-01, 2 times",
        "1 times",
    ),
    ("expect_event", "times: more"): Row(
        "repeat: {times: 2, steps: [{lock: {device: phone}}, {unlock: {device: phone}}]}",
        "device: phone, kind: device.locked, times: 2",
        "device: phone, kind: device.locked, times: 1",
        "device.locked for iphone-01, 1 times",
        "2 times",
    ),
    ("expect_event", "since"): Row(
        f"{E}; lock: {{device: phone}}",
        "device: phone, kind: device.enrolled, since: start",
        "device: phone, kind: device.enrolled",
        "device.enrolled for iphone-01",
        "no device.enrolled",
    ),
    ("expect_event", "within"): Row(
        f"{E}; {LATE}; {Q}",
        "device: phone, kind: device.push-heard, within: 40s",
        "device: phone, kind: device.push-heard, within: 5s",
        "device.push-heard for iphone-01 within 5s",
        "no device.push-heard",
    ),
    ("expect_no_event", "kind"): Row(
        E,
        "device: phone, kind: device.unenrolled, for: 1s",
        "device: phone, kind: device.enrolled, for: 1s",
        "no device.enrolled for 1s",
        "iphone-01: device.enrolled",
    ),
    ("expect_no_event", "device"): Row(
        E,
        "device: other, kind: device.enrolled, for: 1s",
        "device: phone, kind: device.enrolled, for: 1s",
        "no device.enrolled",
        "iphone-01: device.enrolled",
    ),
    ("expect_no_event", "data"): Row(
        E,
        "device: phone, kind: device.token-updated, data: {first: false}, for: 1s",
        "device: phone, kind: device.token-updated, data: {first: true}, for: 1s",
        "no device.token-updated {first: true}",
        "device.token-updated with",
    ),
    ("expect_no_event", "since"): Row(
        f"{E}; lock: {{device: phone}}",
        "device: phone, kind: device.enrolled, for: 1s",
        "device: phone, kind: device.enrolled, since: start, for: 1s",
        "no device.enrolled",
        "iphone-01: device.enrolled",
    ),
    ("expect_no_event", "for"): Row(
        f"{E}; {LATE}; {Q}",
        "device: phone, kind: device.push-heard, for: 5s",
        "device: phone, kind: device.push-heard, for: 40s",
        "no device.push-heard for 40s",
        "iphone-01: device.push-heard",
    ),
    # requests
    ("expect_request", "device"): Row(
        E,
        "device: phone, label: 'checkin:Authenticate'",
        "device: other, label: 'checkin:Authenticate', within: 1s",
        "iphone-02 sends checkin:Authenticate",
        "0 of them; it sent nothing",
    ),
    ("expect_request", "label"): Row(
        E,
        "device: phone, label: 'checkin:Authenticate'",
        "device: phone, label: 'checkin:CheckOut', within: 1s",
        "sends checkin:CheckOut",
        "0 of them; it sent scep:GetCACaps → 200",
    ),
    ("expect_request", "status"): Row(
        E,
        "device: phone, label: 'checkin:Authenticate', status: 200",
        "device: phone, label: 'checkin:Authenticate', status: 401, within: 1s",
        "checkin:Authenticate answered 401",
        "checkin:Authenticate → 200",
    ),
    ("expect_request", "times"): Row(
        E,
        "device: phone, label: 'checkin:TokenUpdate', times: 1",
        "device: phone, label: 'checkin:TokenUpdate', times: 2, within: 1s",
        "checkin:TokenUpdate, 2 times",
        "1 of them; it sent scep:GetCACaps → 200",
    ),
    ("expect_request", "times: more"): Row(
        E,
        "device: phone, label: 'checkin:*', times: 2",
        "device: phone, label: 'checkin:*', times: 1",
        "checkin:*, 1 times",
        "2 of them",
    ),
    ("expect_request", "at_most"): Row(
        E, "device: phone, label: 'checkin:*', at_most: 2", "device: phone, label: 'checkin:*', at_most: 1", "checkin:*, 1 at most", "2 of them",
    ),
    ("expect_request", "since"): Row(
        f"{E}; lock: {{device: phone}}",
        "device: phone, label: 'checkin:*', since: start",
        "device: phone, label: 'checkin:*', within: 1s",
        "sends checkin:*",
        "0 of them; it sent nothing",
    ),
    ("expect_request", "within"): Row(
        f"{E}; {LATE}; {Q}",
        "device: phone, label: 'connect:Idle', within: 40s",
        "device: phone, label: 'connect:Idle', within: 5s",
        "sends connect:Idle",
        "0 of them",
    ),
    ("expect_no_request", "device"): Row(
        E, "device: other, for: 1s", "device: phone, for: 1s", "iphone-01 sends no request for 1s", "scep:GetCACaps → 200",
    ),
    ("expect_no_request", "label"): Row(
        E,
        "device: phone, label: 'connect:*', for: 1s",
        "device: phone, label: 'checkin:*', for: 1s",
        "sends no checkin:* for 1s",
        "checkin:Authenticate → 200",
    ),
    ("expect_no_request", "since"): Row(
        f"{E}; lock: {{device: phone}}",
        "device: phone, for: 1s",
        "device: phone, since: start, for: 1s",
        "sends no request",
        "scep:GetCACaps → 200",
    ),
    ("expect_no_request", "for"): Row(
        f"{E}; {LATE}; {Q}", "device: phone, for: 5s", "device: phone, for: 40s", "no request for 40s", "connect:Idle → 200",
    ),
    # the device in hand
    ("expect_device", "device"): Row(
        E, "device: phone, enrolled: true", "device: other, enrolled: true, within: 1s", "iphone-02 shows {enrolled: true}", "{enrolled: false}",
    ),
    ("expect_device", "enrolled"): Row(
        E, "device: phone, enrolled: true", "device: phone, enrolled: false, within: 1s", "{enrolled: false}", "{enrolled: true}",
    ),
    ("expect_device", "profiles"): Row(
        "install_profile: {to: phone, identifier: a.b, by: user}",
        "device: phone, profiles: [a.b]",
        "device: phone, profiles: [a.b, c.d], within: 1s",
        'profiles: ["a.b", "c.d"]',
        'profiles: ["a.b"]',
    ),
    ("expect_device", "identities"): Row(
        E, "device: phone, identities: 1", "device: phone, identities: 2, within: 1s", "identities: 2", "{identities: 1}",
    ),
    ("expect_device", "certificates"): Row(
        "wait: {for: 1s}", "device: phone, certificates: 0", "device: phone, certificates: 1, within: 1s", "certificates: 1", "{certificates: 0}",
    ),
    ("expect_device", "power"): Row(
        "press_power: {device: phone}", "device: phone, power: 'off'", "device: phone, power: 'on', within: 1s", 'power: "on"', 'power: "off"',
    ),
    ("expect_device", "locked"): Row(
        "lock: {device: phone}", "device: phone, locked: true", "device: phone, locked: false, within: 1s", "locked: false", "{locked: true}",
    ),
    ("expect_device", "behind_pin"): Row(
        f"{M}; queue: {{to: mac, command: DeviceLock, keys: {{PIN: '123456'}}}}; expect_command: {{command: DeviceLock}}",
        "device: mac, behind_pin: true",
        "device: mac, behind_pin: false, within: 1s",
        "behind_pin: false",
        "{behind_pin: true}",
    ),
    ("expect_device", "message"): Row(
        f"{E}; queue: {{to: phone, command: DeviceLock, keys: {{Message: Lost}}}}; expect_command: {{command: DeviceLock}}",
        "device: phone, message: Lost",
        "device: phone, message: Found, within: 1s",
        'message: "Found"',
        'message: "Lost"',
    ),
    ("expect_device", "phone"): Row(
        f"{E}; queue: {{to: phone, command: DeviceLock, keys: {{PhoneNumber: '1234'}}}}; expect_command: {{command: DeviceLock}}",
        "device: phone, phone: '1234'",
        "device: phone, phone: '5678', within: 1s",
        'phone: "5678"',
        'phone: "1234"',
    ),
    ("expect_device", "setup"): Row(
        "erase: {device: phone}", "device: phone, setup: welcome", "device: phone, setup: done, within: 1s", 'setup: "done"', 'setup: "welcome"',
    ),
    ("expect_device", "supervised"): Row(
        "wait: {for: 1s}", "device: phone, supervised: false", "device: phone, supervised: true, within: 1s", "supervised: true", "{supervised: false}",
    ),
    ("expect_device", "removable"): Row(
        E, "device: phone, removable: true", "device: phone, removable: false, within: 1s", "removable: false", "{removable: true}",
    ),
    ("expect_device", "has_passcode"): Row(
        "wait: {for: 1s}", "device: phone, has_passcode: true", "device: phone, has_passcode: false, within: 1s", "has_passcode: false", "{has_passcode: true}",
    ),
    ("expect_device", "apps_open"): Row(
        "wait: {for: 1s}", "device: phone, apps_open: true", "device: phone, apps_open: false, within: 1s", "apps_open: false", "{apps_open: true}",
    ),
    ("expect_device", "user_apps"): Row(
        "erase: {device: phone}", "device: phone, user_apps: 0", "device: phone, user_apps: 1, within: 1s", "user_apps: 1", "{user_apps: 0}",
    ),
    ("expect_device", "within"): Row(
        f"{E}; {LATE}; queue: {{to: phone, command: DeviceLock}}",
        "device: phone, locked: true, within: 40s",
        "device: phone, locked: true, within: 5s",
        "locked: true",
        "{locked: false}",
    ),
    # the server's record
    ("expect_server", "device"): Row(
        E, "device: phone, status: enrolled", "device: other, status: enrolled, within: 1s", "record of iphone-02 has status enrolled", "status unknown",
    ),
    ("expect_server", "status"): Row(
        E, "device: phone, status: enrolled", "device: phone, status: removed, within: 1s", "has status removed", "status enrolled",
    ),
    ("expect_server", "record"): Row(
        E,
        "device: phone, record: {token_updates: 1}",
        "device: phone, record: {token_updates: 2}, within: 1s",
        "token_updates: 2",
        "token_updates is 1",
    ),
    ("expect_server", "record: none"): Row(
        E,
        "device: phone, record: {no_such_key: {absent: true}}",
        "device: other, record: {no_such_key: {absent: true}}, within: 1s",
        "record of iphone-02",
        "the server has no record of it",
    ),
    ("expect_server", "within"): Row(
        f"{E}; {LATE}; {Q}",
        "device: phone, record: {open_commands: 0}, within: 40s",
        "device: phone, record: {open_commands: 0}, within: 5s",
        "open_commands: 0",
        "open_commands is 1",
    ),
    # Apple's device enrollment service
    ("expect_dep", "device"): Row(
        ORDER, "device: phone, status: empty", "device: other, status: empty, within: 1s", "iphone-02 at Apple has profile empty", "profile unknown",
    ),
    ("expect_dep", "status"): Row(
        ORDER, "device: phone, status: empty", "device: phone, status: pushed, within: 1s", "has profile pushed", "profile assigned",
    ),
    ("expect_dep", "record"): Row(
        f"{ORDER}; sync_dep: {{}}",
        "device: phone, record: {record: {device_family: iPhone}}",
        "device: phone, record: {record: {device_family: iPad}}, within: 1s",
        "device_family",
        "record.device_family is",
    ),
    ("expect_dep", "record: none"): Row(
        f"{ORDER}; sync_dep: {{}}",
        "device: phone, record: {no_such_key: {absent: true}}",
        "device: other, record: {no_such_key: {absent: true}}, within: 1s",
        "iphone-02 at Apple",
        "the server knows no such device",
    ),
    ("expect_dep", "within"): Row(
        f"{ORDER}; wait: {{for: 1m}}; order_device: {{device: other}}",
        "device: other, status: assigned, within: 2h",
        "device: other, status: assigned, within: 1s",
        "has profile assigned",
        "profile empty",
    ),
    # what the device has told
    ("expect_told", "device"): Row(
        f"{BOTH}; remember: {{device: phone}}",
        "device: phone, same: [udid]",
        "device: other, same: [udid], within: 1s",
        "iphone-02 tells the same udid",
        "another udid",
    ),
    ("expect_told", "since"): Row(
        f"{E}; remember: {{device: phone, as: early}}; set_passcode: {{device: phone, passcode: '1470'}};"
        " expect_event: {device: phone, kind: device.token-updated}; remember: {device: phone, as: late}",
        "device: phone, since: early, new: [unlock_token]",
        "device: phone, since: late, new: [unlock_token], within: 1s",
        "a new unlock_token",
        "the same unlock_token",
    ),
    ("expect_told", "same"): Row(
        f"{E}; remember: {{device: phone}}; set_passcode: {{device: phone, passcode: '1470'}};"
        " expect_event: {device: phone, kind: device.token-updated}",
        "device: phone, same: [udid, push_token]",
        "device: phone, same: [unlock_token], within: 1s",
        "the same unlock_token",
        "another unlock_token",
    ),
    ("expect_told", "same: nothing told"): Row(
        f"{E}; remember: {{device: phone}}",
        "device: phone, same: [udid]",
        "device: other, same: [udid], within: 1s",
        "iphone-02 tells the same udid",
        "no udid",
    ),
    ("expect_told", "new"): Row(
        f"{E}; remember: {{device: phone}}; set_passcode: {{device: phone, passcode: '1470'}};"
        " expect_event: {device: phone, kind: device.token-updated}",
        "device: phone, new: [unlock_token]",
        "device: phone, new: [push_token, identity], within: 1s",
        "a new push_token, identity",
        "the same push_token, the same identity",
    ),
    ("expect_told", "new: nothing before"): Row(
        f"remember: {{device: phone, as: early}}; {E}; remember: {{device: phone, as: late}};"
        " set_passcode: {device: phone, passcode: '1470'}; expect_event: {device: phone, kind: device.token-updated}",
        "device: phone, since: late, new: [unlock_token]",
        "device: phone, since: early, new: [unlock_token], within: 1s",
        "a new unlock_token",
        "no unlock_token before",
    ),
    ("expect_told", "within"): Row(
        f"{E}; remember: {{device: phone}}; {LATE}; renew_enrollment: {{to: phone}}",
        "device: phone, new: [identity], within: 40s",
        "device: phone, new: [identity], within: 5s",
        "a new identity",
        "the same identity",
    ),
    # pushes
    ("expect_pending_pushes", "device"): Row(
        f"{BOTH}; network: {{device: phone, state: down}}; {Q}",
        "device: phone, count: 1",
        "device: other, count: 1, within: 1s",
        "APNs keeps 1 pushes for iphone-02",
        "0",
    ),
    ("expect_pending_pushes", "count"): Row(
        E, "device: phone, count: 0", "device: phone, count: 1, within: 1s", "APNs keeps 1 pushes for iphone-01", "0",
    ),
    ("expect_pending_pushes", "within"): Row(
        f"{E}; network: {{device: phone, state: down}}; apns_fault: {{name: push.refused, reason: ServiceUnavailable}}; {Q}",
        "device: phone, count: 1, within: 1h",
        "device: phone, count: 1, within: 1s",
        "APNs keeps 1 pushes",
        "0",
    ),
    ("expect_pushed", "device"): Row(
        f"{BOTH}; {Q}", "device: phone", "device: other, within: 1s", "a push for everything that was queued for other", "told of nothing that it queued",
    ),
    ("expect_pushed", "late"): Row(
        f"{E}; apns_fault: {{name: push.refused, reason: ServiceUnavailable}}; {Q}",
        "device: phone, within: 1h",
        "device: phone, late: 1s, within: 1h",
        "at most 1s late",
        "s late",
    ),
    ("expect_pushed", "within"): Row(
        f"{E}; apns_fault: {{name: push.refused, reason: ServiceUnavailable}}; {Q}",
        "device: phone, within: 1h",
        "device: phone, within: 1s",
        "APNs accepted a push for everything",
        "ProfileList for iphone-01: 503 ServiceUnavailable",
    ),
    ("push", "status"): Row(E, "to: phone", "to: phone, status: 410", "APNs answers 410", "it answered 200"),
    # people
    ("enroll", "outcome"): Row(
        "wait: {for: 1s}", "device: phone", "device: phone, outcome: failed", "iphone-01 ends up failed", "enrolled",
    ),
    ("enroll", "error"): Row(
        "wait: {for: 1s}",
        "device: phone, profile: {topic: nonsense}, outcome: failed, error: [12022]",
        "device: phone, profile: {topic: nonsense}, outcome: failed, error: [12000]",
        "an error chain with 12000",
        "12022",
    ),
    ("install_profile", "error"): Row(
        "wait: {for: 1s}",
        "to: phone, identifier: a.b, by: user",
        "to: phone, identifier: a.b, by: user, error: [4001]",
        "an error chain with 4001",
        "no error chain",
    ),
    ("unlock", "outcome"): Row(
        "lock: {device: phone}",
        'device: phone, passcode: "000000", outcome: refused',
        'device: phone, passcode: "000000"',
        "iphone-01 opens",
        "refused: that is not the passcode",
    ),
    ("unlock", "outcome: opens"): Row(
        "lock: {device: phone}", "device: phone", "device: phone, outcome: refused", "iphone-01 stays locked", "opens",
    ),
    ("enter_pin", "outcome"): Row(
        f"{M}; queue: {{to: mac, command: DeviceLock, keys: {{PIN: '123456'}}}}; expect_command: {{command: DeviceLock}}",
        'device: mac, pin: "000000", outcome: refused',
        'device: mac, pin: "000000"',
        "mac-01 opens",
        "refused: that is not the PIN",
    ),
    ("remove_profile", "outcome"): Row(
        E, "device: phone", "device: phone, outcome: refused", "is refused", "removed",
    ),
    ("walk_setup", "outcome"): Row(
        f"{ORDER}; sync_dep: {{}}", "device: phone, outcome: held", "device: phone", "Setup Assistant of iphone-01 ends home", "held",
    ),
    ("walk_setup", "why"): Row(
        STRANGER,
        "device: phone, outcome: stopped, why: the enrollment URL answered 403",
        "device: phone, outcome: stopped, why: no network",
        "ends stopped and says no network",
        "the enrollment URL answered 403",
    ),
    ("walk_setup", "code"): Row(
        STRANGER,
        "device: phone, outcome: stopped",
        "device: phone, outcome: stopped, code: com.apple.unrecognized.device",
        "is refused with com.apple.unrecognized.device",
        "no code",
    ),
    ("pair", "outcome"): Row(
        f"{ORDER}; assign_profile: {{device: phone, keys: {{allow_pairing: false, await_device_configured: false}}}};"
        " walk_setup: {device: phone}",
        "device: phone, outcome: refused",
        "device: phone, outcome: trusted",
        "a stranger computer is trusted by iphone-01",
        "refused: the DEP profile allows no pairing",
    ),
    ("only_on", "platforms"): Row(
        E,
        "platforms: [macos], steps: [{expect_device: {device: phone, enrolled: false, within: 1s}}]",
        "platforms: [macos, ios], steps: [{expect_device: {device: phone, enrolled: false, within: 1s}}]",
        "{enrolled: false}",
        "{enrolled: true}",
    ),
    ("only_on", "steps"): Row(
        E,
        "platforms: [ios], steps: [{expect_device: {device: phone, enrolled: true}}]",
        "platforms: [ios], steps: [{expect_device: {device: phone, enrolled: false, within: 1s}}]",
        "{enrolled: false}",
        "{enrolled: true}",
    ),
    ("for_each_request", "requests"): Row(
        "wait: {for: 1s}",
        "device: phone, requests: ['checkin:Authenticate'], answer: 401, during: [{enroll: {device: phone}}], then: [{wait: {for: 1s}}]",
        "device: phone, requests: ['connect:NotNow'], answer: 401, during: [{enroll: {device: phone}}], then: [{wait: {for: 1s}}]",
        "a clean run with requests connect:NotNow",
        "the recording holds none",
    ),
    ("for_each_request", "then"): Row(
        "wait: {for: 1s}",
        "device: phone, requests: ['checkin:Authenticate'], answer: 401, during: [{enroll: {device: phone}}],"
        " then: [{expect_device: {device: phone, enrolled: false}}]",
        "device: phone, requests: ['checkin:Authenticate'], answer: 401, during: [{enroll: {device: phone}}],"
        " then: [{expect_device: {device: phone, enrolled: true, within: 1s}}]",
        "shows {enrolled: true}",
        "{enrolled: false}",
    ),
}  # fmt: skip

#: Steps that only look but judge nothing by themselves.
NO_EXPECTATION = {"remember"}
#: Keys with which steps judge that also act, wherever they stand; and those that judge in one step only.
VERDICTS = {"outcome", "error", "response", "within"}
JUDGING = {
    ("for_each_request", "requests"),
    ("for_each_request", "then"),
    ("push", "status"),
    ("query", "status"),
    ("walk_setup", "why"),
    ("walk_setup", "code"),
}


def steps_of(row: Row, step: str, arguments: str) -> str:
    """The story of a row, one step a line."""
    before = [part.strip() for part in row.before.split(";")]
    return "".join(f"  - {line}\n" for line in (*before, f"{step}: {{{arguments}}}"))


@pytest.mark.parametrize(("step", "key"), TABLE, ids=[f"{step}-{key}" for step, key in TABLE])
def test_an_expectation_holds_where_it_is_so_and_fails_for_its_reason_where_not(step: str, key: str) -> None:
    row = TABLE[step, key]
    right = play(steps_of(row, step, row.right), head=HEAD)
    assert right.grade is Grade.PASSED, failure_text(right)
    steps = steps_of(row, step, row.wrong)
    wrong = play(steps, head=HEAD)
    assert wrong.grade is Grade.FAILED, failure_text(wrong)
    assert wrong.where == f"story.yaml:{(HEAD + steps).count(chr(10))}"
    assert (row.expected in str(wrong.expected), row.seen in str(wrong.observed)) == (True, True), failure_text(wrong)


def test_every_key_of_every_expectation_has_a_story_that_fails_by_it() -> None:
    judging = {
        (name, field.key)
        for name, step in steps().items()
        for field in fields_of(step.arguments)
        if (step.expects and name not in NO_EXPECTATION) or field.key in VERDICTS
    }
    assert (judging | JUDGING) - {(step, key.partition(":")[0]) for step, key in TABLE} == set()
