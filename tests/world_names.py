"""Names of people and companies in many scripts, each with the name of its language or kind."""

from __future__ import annotations

WORLD_NAMES: dict[str, str] = {
    "chinese": "柏林分公司",
    "traditional chinese": "臺灣營業處",
    "japanese": "東京支店さくら・カフェ",
    "korean": "서울 지점",
    "arabic": "مكتب برلين",
    "arabic with digits": "مرحبا 12 (برلين)",
    "persian": "می\u200cخواهم",
    "hebrew": "מִשְׂרָד בברלין",
    "thai": "สำนักงานที่กรุงเทพ",
    "hindi": "दिल्ली क्षेत्रीय",
    "bengali": "র\u200d্যাব ঢাকা",
    "tamil": "சென்னை",
    "sinhala": "ශ්\u200dරී ලංකා",
    "burmese": "ရန်ကုန်",
    "khmer": "ភ្នំពេញ",
    "georgian": "თბილისი",
    "armenian": "Երևան",
    "amharic": "አዲስ አበባ",
    "cyrillic": "Щербаков Ґ",
    "greek": "Γιώργος",
    "vietnamese": "Nguyễn Thị Hồng",
    "marks that do not compose": "M\u0303ar\u0329ta\u030b",
    "family": "Kim 👩\u200d👩\u200d👧\u200d👦",
    "skin tone": "Kim 👍🏽 👩🏿\u200d⚕️",
    "flags": "Kim 🇩🇪 🏳️\u200d🌈 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "heart and keycap": "Kim ❤️ 1️⃣",
    "mixed": "Büro 北京 مكتب GmbH 🦊",
}
"""Names that the portal accepts and prints unchanged, in the Unicode form in which they are stored."""
