"""Synthetic DICOM images: phantoms with noise, each with its own pixels, made with dcmtk's img2dcm."""
import hashlib
import math
import os
import random
import struct
import subprocess

from lab import Failure

SIDE = 384
PATIENTS = ["JANSSEN^PIETER", "DEVRIES^ANNA", "BAKKER^WILLEM", "VISSER^MARIA"]
COUNT = 20


def _phantom(seed):
    """Grey pixels, bottom row first: a bright skull, a grey brain, a lesion whose place depends on the seed."""
    chance = random.Random(seed)
    angle, distance = chance.uniform(0, 2 * math.pi), chance.uniform(20, 90)
    shapes = [(0, 0, 150, 180, 220), (0, 0, 135, 165, 90),
              (distance * math.cos(angle), distance * math.sin(angle), chance.uniform(8, 25), chance.uniform(8, 25), 160)]
    rows = []
    for y in range(SIDE):
        row = bytearray(SIDE)
        for cx, cy, rx, ry, grey in shapes:
            up = (y - SIDE / 2 - cy) / ry
            if abs(up) < 1:
                half = rx * math.sqrt(1 - up * up)
                first, last = int(SIDE / 2 + cx - half), int(SIDE / 2 + cx + half)
                row[first:last] = bytes([grey]) * (last - first)
        noise = chance.randbytes(SIDE)
        rows.append(bytes(pixel + (n & 15) for pixel, n in zip(row, noise)))
    return b"".join(rows)


def _bitmap(pixels):
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 54 + len(palette)
    return (b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) +
            struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 0, len(pixels), 2835, 2835, 256, 0) + palette + pixels)


def make(folder, count=COUNT):
    """Writes image-01.dcm ...; returns their paths."""
    os.makedirs(folder, exist_ok=True)
    files = []
    for i in range(count):
        patient = PATIENTS[i % len(PATIENTS)]
        bitmap, file = os.path.join(folder, f"image-{i + 1:02}.bmp"), os.path.join(folder, f"image-{i + 1:02}.dcm")
        with open(bitmap, "wb") as out:
            out.write(_bitmap(_phantom(i)))
        keys = {"PatientName": patient, "PatientID": f"P-{42 + i % len(PATIENTS):04}", "Modality": "OT",
                "StudyDate": "20260301", "StudyDescription": "STROKE CT PHANTOM", "InstanceNumber": str(i + 1)}
        done = subprocess.run(["img2dcm", "-i", "BMP", bitmap, file, *(w for k, v in keys.items() for w in ("-k", f"{k}={v}"))],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"img2dcm: {done.stderr.strip()}")
        os.remove(bitmap)
        files.append(file)
    return files


def pixel_hashes(files, scratch):
    """{SOP instance UID: SHA-256 of the pixel data} as dcmtk's dcmdump extracts it."""
    os.makedirs(scratch, exist_ok=True)
    hashes = {}
    for file in files:
        done = subprocess.run(["dcmdump", "-q", "+W", scratch, file], capture_output=True, text=True)
        raw = os.path.join(scratch, os.path.basename(file) + ".0.raw")
        try:
            uid = done.stdout.split("(0008,0018) UI [", 1)[1].split("]", 1)[0]
            with open(raw, "rb") as pixels:
                hashes[uid] = hashlib.sha256(pixels.read()).hexdigest()
            os.remove(raw)
        except (IndexError, OSError):
            raise Failure(f"dcmdump cannot read {file}: {(done.stderr + done.stdout).strip()[:300]}") from None
    return hashes


def compare(got, sent):
    """Fails unless both hold the same images with the same pixels."""
    same = sum(got.get(uid) == pixels for uid, pixels in sent.items())
    if got != sent:
        raise Failure(f"{same} of {len(sent)} images have equal pixels; {len(got)} arrived")
    return f"{same} of {len(sent)}"
