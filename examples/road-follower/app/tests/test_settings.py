import tempfile
import unittest
from pathlib import Path

from road_follower import settings


class SettingsFile(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "drive.toml"

    def test_what_the_file_does_not_say_keeps_its_default(self) -> None:
        self.path.write_text("cruise = 0.2\n", encoding="utf-8")
        loaded = settings.load(self.path)
        self.assertEqual(loaded.cruise, 0.2)
        self.assertEqual(loaded.model, settings.Settings().model)

    def test_values_that_cannot_be_used_are_named(self) -> None:
        for text, reason in (
            ("cruise = 7", "cruise is 7"),
            ("speed = 1", "unknown setting 'speed'"),
            ("=", "drive.toml"),
        ):
            self.path.write_text(text, encoding="utf-8")
            with self.subTest(text=text), self.assertRaisesRegex(settings.SettingsError, reason):
                settings.load(self.path)
