"""Numbers that the paper prints in its tables, for `paper_tables` to put beside ours."""

from __future__ import annotations

# Table 1 left: IP, IR, IS, FID; Table 1 right: IP, IR; Table 5: A tiled, A resized, C_T tiled, C_T resized
TABLE_1_LEFT = {
    "Morph-Diffusion": {"IP": 0.26, "IR": 0.85, "IS": 2.1, "FID": 20.1},
    "NASDM": {"IS": 2.7, "FID": 15.7},
    "DiffInfinite (a)": {"IP": 0.94, "IR": 0.70, "IS": 2.7, "FID": 26.7},
}
TABLE_1_RIGHT = {
    "DiffCollage": {"IP": 0.94, "IR": 0.22},
    "DiffInfinite (b)": {"IP": 0.95, "IR": 0.48},
    "DiffInfinite (c)": {"IP": 0.98, "IR": 0.44},
    "DiffInfinite (b) & (c)": {"IP": 0.98, "IR": 0.33},
}
TABLE_5 = {
    "DiffCollage": {"A": 0.89, "A resized": 0.97, "C_T": 11.02, "C_T resized": 7.00},
    "DiffInfinite (a)": {"A": 0.86, "C_T": 4.99},
    "DiffInfinite (b)": {"A": 0.86, "A resized": 0.97, "C_T": 3.29, "C_T resized": 8.11},
    "DiffInfinite (c)": {"A": 0.86, "A resized": 0.98, "C_T": 9.61, "C_T resized": 11.56},
    "DiffInfinite (b) & (c)": {"A": 0.87, "A resized": 0.95, "C_T": 5.31, "C_T resized": 10.96},
}


def _pm(*pairs: tuple[float, float]) -> list[dict]:
    return [{"mean": mean, "spread": spread} for mean, spread in pairs]


_COHORTS = ("IH1", "IH2", "IH3", "NCT-100K", "CRC-7K")
TABLE_2A = {
    name: dict(zip(_COHORTS, _pm(*values), strict=True))
    for name, values in (
        ("real", ((0.846, 0.005), (0.733, 0.021), (0.598, 0.049), (0.857, 0.009), (0.822, 0.034))),
        ("synthetic", ((0.747, 0.025), (0.753, 0.005), (0.699, 0.002), (0.796, 0.023), (0.753, 0.038))),
        ("augmented", ((0.852, 0.007), (0.732, 0.027), (0.637, 0.025), (0.847, 0.044), (0.811, 0.057))),
    )
}
TABLE_2B = dict(zip(TABLE_2A, _pm((0.614, 0.009), (0.471, 0.039), (0.710, 0.021)), strict=True))
TABLE_3 = {"carcinoma": 0.37, "stroma": 0.36, "necrosis": 0.035, "others": 0.235}
