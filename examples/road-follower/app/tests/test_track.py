import math
import unittest

import numpy as np

from road_follower.track import TRACKS, Bend, Shadow, Straight, lay


class Tracks(unittest.TestCase):
    def test_a_quarter_circle_ends_where_geometry_says(self) -> None:
        track = lay("quarter", (Bend(1.0, 90),))
        x, y, heading = track.middle(track.length)
        self.assertAlmostEqual(x, 1, delta=0.02)
        self.assertAlmostEqual(y, 1, delta=0.02)
        self.assertAlmostEqual(heading, math.pi / 2, delta=0.02)

    def test_a_point_is_found_by_distance_along_and_to_the_left(self) -> None:
        along, left = lay("line", (Straight(2),)).locate(np.array([[0.53]]), np.array([[-0.1]]))
        self.assertAlmostEqual(along.item(), 0.53)
        self.assertAlmostEqual(left.item(), -0.1)

    def test_pieces_are_found_by_their_distance(self) -> None:
        track = lay("two", (Straight(1), Bend(0.5, -90)))
        self.assertEqual(str(track.piece_at(0.5)), "a straight of 1 m")
        self.assertEqual(str(track.piece_at(1.2)), "a right bend of 0.5 m radius")
        self.assertEqual(track.piece_at(99), track.pieces[-1])

    def test_shadows_darken_where_they_lie(self) -> None:
        track = lay("shady", (Straight(2),), (Shadow(0.5, 1.0, 0.4),))
        self.assertEqual(track.light(np.array([0.2, 0.7, 1.2])).tolist(), [1, 0.4, 1])

    def test_no_track_comes_near_itself(self) -> None:
        """A place must belong to one part of the road only."""
        for track in TRACKS.values():
            apart = np.abs(track.along[:, None] - track.along[None]) > 1.8
            distance = np.hypot(*(track.points[:, None] - track.points[None]).transpose(2, 0, 1))
            with self.subTest(track=track.name):
                self.assertGreater(distance[apart].min(initial=9), 0.6)
