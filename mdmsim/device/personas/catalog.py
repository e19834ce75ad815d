"""Models that personas can be: identifiers, names, chips, and which releases they run.

Identifiers and pairs of identifier and name are Apple's. Order numbers have Apple's form (captured: MD786X, MN9H2LL,
MF519LL); they stand for one configuration that was sold, not for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdmsim.device.personas.releases import RELEASES, Release
from mdmsim.schema.platforms import version as version_key


@dataclass(frozen=True, slots=True)
class Chip:
    """`id`: the eight hex digits that identifiers of the newer form begin with; None for 40 hex digits (up to A11)."""

    name: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `first`, `last`: the oldest release it shipped with, the newest major version that it runs.

    `orders`: stems of order numbers, without region. `years`: first and last year of production, for serials.
    `gigabytes`: sizes sold, decimal. `board`: what the update service knows the model by. `ports`: "ethernet" where
    there is one built in, "cellular" where there is a modem.
    """

    identifier: str
    kind: str
    name: str
    marketing_name: str
    chip: Chip
    first: str
    last: str
    orders: tuple[str, ...]
    years: tuple[int, int]
    gigabytes: tuple[int, ...]
    board: str = ""
    ports: frozenset[str] = frozenset()
    battery: bool = False

    def runs(self, release: Release) -> bool:
        """Whether this model can run that release of its own platform."""
        version, newest = version_key(release.version), version_key(self.last)
        if version < version_key(self.first) or version[: len(newest)] > newest:
            return False
        return not release.branch or version[0] == newest[0]


#: Kind of persona to platform. The order is the order in which people list them.
PLATFORMS = {
    "iphone": "ios",
    "ipad": "ipados",
    "mac-intel": "macos",
    "mac-t2": "macos",
    "mac-silicon": "macos",
    "appletv": "tvos",
}

_A5, _A7, _A8, _A9, _A10, _A10X, _A11 = (Chip(name) for name in ("A5", "A7", "A8", "A9", "A10", "A10X", "A11"))
# Captured: A12, A12X, A14, M2, M2 Max (as a provisioning identifier), the virtual machine's. The others are commonly known.
_A12, _A12X, _A13, _A14 = (
    Chip("A12", "00008020"),
    Chip("A12X", "00008027"),
    Chip("A13", "00008030"),
    Chip("A14", "00008101"),
)
_A15, _A16, _A17, _A18 = (
    Chip("A15", "00008110"),
    Chip("A16", "00008120"),
    Chip("A17 Pro", "00008130"),
    Chip("A18", "00008140"),
)
_M1, _M1_PRO = Chip("M1", "00008103"), Chip("M1 Pro", "00006000")
_M2, _M2_MAX = Chip("M2", "00008112"), Chip("M2 Max", "00006021")
_M3, _M4 = Chip("M3", "00008122"), Chip("M4", "00008132")
_VIRTUAL, _INTEL, _T2 = Chip("Apple virtual", "0000FE00"), Chip("Intel"), Chip("Intel with T2")

_CELLULAR, _ETHERNET = frozenset({"cellular"}), frozenset({"ethernet"})


def _iphone(
    identifier: str, name: str, chip: Chip, first: str, last: str, orders: str, years: tuple[int, int], *sizes: int
) -> Model:
    return Model(
        identifier, "iphone", "iPhone", f"iPhone {name}", chip, first, last, tuple(orders.split()), years, sizes,
        board=identifier, ports=_CELLULAR, battery=True,
    )  # fmt: skip


def _ipad(
    identifier: str, name: str, chip: Chip, first: str, last: str, orders: str, years: tuple[int, int], *sizes: int,
    cellular: bool = False,
) -> Model:  # fmt: skip
    return Model(
        identifier, "ipad", "iPad", f"iPad {name}".rstrip(), chip, first, last, tuple(orders.split()), years, sizes,
        board=identifier, ports=_CELLULAR if cellular else frozenset(), battery=True,
    )  # fmt: skip


def _mac(
    identifier: str, name: str, note: str, chip: Chip, first: str, last: str, orders: str, years: tuple[int, int],
    board: str, *sizes: int,
) -> Model:  # fmt: skip
    kind = {"Intel": "mac-intel", "Intel with T2": "mac-t2"}.get(chip.name, "mac-silicon")
    return Model(
        identifier, kind, name, f"{name} ({note})", chip, first, last, tuple(orders.split()), years, sizes,
        board=board, ports=frozenset() if name.startswith("MacBook") else _ETHERNET, battery=name.startswith("MacBook"),
    )  # fmt: skip


def _tv(identifier: str, name: str, chip: Chip, first: str, orders: str, years: tuple[int, int], *sizes: int) -> Model:
    return Model(
        identifier, "appletv", "Apple TV", f"Apple TV {name}", chip, first, "18", tuple(orders.split()), years, sizes,
        ports=_ETHERNET,
    )  # fmt: skip


_ALL = (
    _iphone("iPhone7,2", "6", _A8, "8.0", "12", "MG4F2 MG5W2", (2014, 2016), 16, 64, 128),
    _iphone("iPhone8,1", "6s", _A9, "9.0", "15", "MKQ52 MN1E2", (2015, 2018), 16, 32, 64, 128),
    _iphone("iPhone9,1", "7", _A10, "10.0", "15", "MN9H2 MNAC2", (2016, 2019), 32, 128, 256),
    _iphone("iPhone9,3", "7", _A10, "10.0", "15", "MN8X2 MN9D2", (2016, 2019), 32, 128, 256),
    _iphone("iPhone10,2", "8 Plus", _A11, "11.0", "16", "MQ8D2 MQ8G2", (2017, 2020), 64, 128, 256),
    _iphone("iPhone10,3", "X", _A11, "11.0", "16", "MQA52 MQA82", (2017, 2018), 64, 256),
    _iphone("iPhone10,5", "8 Plus", _A11, "11.0", "16", "MQ8L2 MQ8N2", (2017, 2020), 64, 128, 256),
    _iphone("iPhone10,6", "X", _A11, "11.0", "16", "MQAC2 MQAF2", (2017, 2018), 64, 256),
    _iphone("iPhone11,2", "XS", _A12, "12.0", "18", "MT952 MT9E2", (2018, 2019), 64, 256, 512),
    _iphone("iPhone11,8", "XR", _A12, "12.0", "18", "MRY42 MRYD2", (2018, 2020), 64, 128, 256),
    _iphone("iPhone12,1", "11", _A13, "13.0", "26", "MWL72 MWLT2", (2019, 2022), 64, 128, 256),
    _iphone("iPhone12,8", "SE (2nd generation)", _A13, "13.4", "26", "MX9N2 MXD02", (2020, 2022), 64, 128, 256),
    _iphone("iPhone13,2", "12", _A14, "14.1", "26", "MGEG3 MGF03", (2020, 2022), 64, 128, 256),
    _iphone("iPhone13,3", "12 Pro", _A14, "14.1", "26", "MGJN3 MGJX3", (2020, 2021), 128, 256, 512),
    _iphone("iPhone14,5", "13", _A15, "15.0", "26", "MLM63 MLMG3", (2021, 2024), 128, 256, 512),
    _iphone("iPhone14,6", "SE (3rd generation)", _A15, "15.4", "26", "MMX53 MMXG3", (2022, 2024), 64, 128, 256),
    _iphone("iPhone14,7", "14", _A15, "16.0", "26", "MPUA3 MPUP3", (2022, 2024), 128, 256, 512),
    _iphone("iPhone15,2", "14 Pro", _A16, "16.0", "26", "MPXT3 MQ0E3", (2022, 2023), 128, 256, 512, 1024),
    _iphone("iPhone15,4", "15", _A16, "17.0", "26", "MTLV3 MTM03", (2023, 2025), 128, 256, 512),
    _iphone("iPhone16,1", "15 Pro", _A17, "17.0", "26", "MTQP3 MTQU3", (2023, 2024), 128, 256, 512, 1024),
    _iphone("iPhone16,2", "15 Pro Max", _A17, "17.0", "26", "MU683 MU6E3", (2023, 2024), 256, 512, 1024),
    _iphone("iPhone17,1", "16 Pro", _A18, "18.0", "26", "MYMH3 MYMP3", (2024, 2025), 128, 256, 512, 1024),
    _iphone("iPhone17,2", "16 Pro Max", _A18, "18.0", "26", "MYW73 MYWJ3", (2024, 2025), 256, 512, 1024),
    _iphone("iPhone17,3", "16", _A18, "18.0", "26", "MYAP3 MYAX3", (2024, 2025), 128, 256, 512),
    _ipad("iPad2,5", "mini", _A5, "6.0", "9", "MD528 MD531", (2012, 2015), 16, 32, 64),
    _ipad("iPad4,1", "Air", _A7, "7.0", "12", "MD785 MD786", (2013, 2016), 16, 32, 64),
    _ipad("iPad6,11", "(5th generation)", _A9, "10.2", "16", "MP2F2 MP2H2", (2017, 2018), 32, 128),
    _ipad("iPad7,5", "(6th generation)", _A10, "11.3", "17", "MR7F2 MR7J2", (2018, 2019), 32, 128),
    _ipad("iPad8,1", "Pro (11-inch)", _A12X, "12.1", "26", "MTXN2 MTXQ2", (2018, 2020), 64, 256, 512),
    _ipad("iPad11,6", "(8th generation)", _A12, "14.0", "26", "MYL92 MYLD2", (2020, 2021), 32, 128),
    _ipad("iPad12,1", "(9th generation)", _A13, "15.0", "26", "MK2K3 MK2N3", (2021, 2024), 64, 256),
    _ipad("iPad12,2", "(9th generation)", _A13, "15.0", "26", "MK473 MK4C3", (2021, 2024), 64, 256, cellular=True),
    _ipad("iPad13,4", "Pro (11-inch) (3rd generation)", _M1, "14.5", "26", "MHQR3 MHQU3", (2021, 2022), 128, 256, 512),
    _ipad("iPad13,16", "Air (5th generation)", _M1, "15.4", "26", "MM9C3 MM9L3", (2022, 2024), 64, 256),
    _ipad("iPad13,18", "(10th generation)", _A14, "16.1", "26", "MPQ03 MPQ93", (2022, 2025), 64, 256),
    _ipad("iPad13,19", "(10th generation)", _A14, "16.1", "26", "MQ6J3 MQ6W3", (2022, 2025), 64, 256, cellular=True),
    _ipad("iPad14,1", "mini (6th generation)", _A15, "15.0", "26", "MK7M3 MK7V3", (2021, 2024), 64, 256),
    _ipad("iPad14,3", "Pro (11-inch) (4th generation)", _M2, "16.1", "26", "MNXD3 MNXG3", (2022, 2024), 128, 256, 512),
    _ipad("iPad14,8", "Air 11-inch (M2)", _M2, "17.4", "26", "MUWC3 MUWG3", (2024, 2025), 128, 256, 512),
    _ipad("iPad16,1", "mini (A17 Pro)", _A17, "18.0", "26", "MXN63 MXN93", (2024, 2025), 128, 256, 512),
    _ipad("iPad16,3", "Pro 11-inch (M4)", _M4, "17.5", "26", "MVV83 MVVC3", (2024, 2025), 256, 512, 1024),
    _mac("iMac14,2", "iMac", "27-inch, Late 2013", _INTEL, "10.8", "10.15", "ME088 ME089", (2013, 2014),
         "Mac-27ADBB7B4CEE8E61", 500, 1024),
    _mac("iMac15,1", "iMac", "Retina 5K, 27-inch, Late 2014", _INTEL, "10.10", "11", "MF886", (2014, 2015),
         "Mac-42FD25EABCABB274", 500, 1024),
    _mac("iMac17,1", "iMac", "Retina 5K, 27-inch, Late 2015", _INTEL, "10.11", "12", "MK462 MK472", (2015, 2017),
         "Mac-B809C3757DA9BB8D", 500, 1024),
    _mac("MacBookPro11,3", "MacBook Pro", "Retina, 15-inch, Mid 2014", _INTEL, "10.9", "11", "MGXC2", (2014, 2015),
         "Mac-2BD1B31983FE1663", 256, 512, 1024),
    _mac("MacBookPro16,1", "MacBook Pro", "16-inch, 2019", _T2, "10.15", "26", "MVVJ2 MVVK2", (2019, 2020),
         "J152fAP", 512, 1024, 2048),
    _mac("MacBookAir9,1", "MacBook Air", "Retina, 13-inch, 2020", _T2, "10.15", "15", "MWTJ2 MVH22", (2020, 2020),
         "J230kAP", 256, 512),
    _mac("iMac20,1", "iMac", "Retina 5K, 27-inch, 2020", _T2, "10.15", "26", "MXWT2 MXWU2", (2020, 2020),
         "J185AP", 256, 512, 1024),
    _mac("MacBookAir10,1", "MacBook Air", "M1, 2020", _M1, "11.0", "26", "MGN63 MGND3", (2020, 2024), "J313AP", 256, 512),
    _mac("MacBookPro17,1", "MacBook Pro", "13-inch, M1, 2020", _M1, "11.0", "26", "MYD82 MYDA2", (2020, 2022),
         "J293AP", 256, 512),
    _mac("Macmini9,1", "Mac mini", "M1, 2020", _M1, "11.0", "26", "MGNR3 MGNT3", (2020, 2022), "J274AP", 256, 512),
    _mac("iMac21,1", "iMac", "24-inch, M1, 2021", _M1, "11.3", "26", "MGPK3 MGPM3", (2021, 2023), "J456AP", 256, 512),
    _mac("MacBookPro18,1", "MacBook Pro", "16-inch, 2021", _M1_PRO, "12.0", "26", "MK183 MK193", (2021, 2022),
         "J316sAP", 512, 1024),
    _mac("MacBookPro18,3", "MacBook Pro", "14-inch, 2021", _M1_PRO, "12.0", "26", "MKGP3 MKGR3", (2021, 2022),
         "J314sAP", 512, 1024),
    _mac("Mac14,2", "MacBook Air", "M2, 2022", _M2, "12.4", "26", "MLXW3 MLY33", (2022, 2024), "J413AP", 256, 512),
    _mac("Mac14,3", "Mac mini", "2023", _M2, "13.2", "26", "MMFJ3 MMFK3", (2023, 2024), "J473AP", 256, 512),
    _mac("Mac14,6", "MacBook Pro", "16-inch, 2023", _M2_MAX, "13.2", "26", "MNWA3 MNWG3", (2023, 2023),
         "J416cAP", 1024, 2048),
    _mac("Mac14,7", "MacBook Pro", "13-inch, M2, 2022", _M2, "12.4", "26", "MNEH3 MNEP3", (2022, 2023), "J493AP", 256, 512),
    _mac("Mac15,3", "MacBook Pro", "14-inch, M3, Nov 2023", _M3, "14.1", "26", "MTL73 MTL83", (2023, 2024),
         "J504AP", 512, 1024),
    _mac("Mac15,12", "MacBook Air", "13-inch, M3, 2024", _M3, "14.3", "26", "MRXN3 MRXQ3", (2024, 2025), "J613AP", 256, 512),
    _mac("Mac16,1", "MacBook Pro", "14-inch, M4, 2024", _M4, "15.1", "26", "MW2U3 MW2W3", (2024, 2025), "J604AP", 512, 1024),
    _mac("Mac16,10", "Mac mini", "2024", _M4, "15.1", "26", "MU9D3 MU9E3", (2024, 2025), "J773gAP", 256, 512),
    _mac("Mac16,12", "MacBook Air", "13-inch, M4, 2025", _M4, "15.2", "26", "MW0Y3 MW123", (2025, 2025), "J713AP", 256, 512),
    Model("VirtualMac2,1", "mac-silicon", "Virtual Machine", "Virtual Machine", _VIRTUAL, "13.0", "26", ("",), (2022, 2025),
          (32, 64), board="VMA2MACOSAP", ports=_ETHERNET),
    _tv("AppleTV5,3", "HD", _A8, "9.0", "MR912 MHY93", (2015, 2022), 32),
    _tv("AppleTV6,2", "4K", _A10X, "11.0", "MQD22 MP7P2", (2017, 2021), 32, 64),
    _tv("AppleTV11,1", "4K (2nd generation)", _A12, "14.5", "MXGY2 MXH02", (2021, 2022), 32, 64),
    _tv("AppleTV14,1", "4K (3rd generation)", _A15, "16.0", "MN873 MN893", (2022, 2025), 64, 128),
)  # fmt: skip

#: Models by identifier.
MODELS: dict[str, Model] = {model.identifier: model for model in _ALL}


def models_of(kind: str, *, virtual: bool = False) -> Iterator[Model]:
    """The models of a kind, oldest first. `virtual`: virtual machines too, which nobody gets by chance."""
    return (model for model in _ALL if model.kind == kind and (virtual or model.chip is not _VIRTUAL))


def releases_of(kind: str, model: Model | None = None) -> list[Release]:
    """The releases that a kind, or one model of it, can run, oldest first."""
    models = [model] if model is not None else list(models_of(kind, virtual=True))
    return [release for release in RELEASES[PLATFORMS[kind]] if any(one.runs(release) for one in models)]
