"""Which edges go, which are dead then, and which a guard puts back."""

from __future__ import annotations

import pytest
import torch

from methods.nettailor.edges import Edge, all_edges, blocks_in_order, live_edges, stages_lost
from methods.nettailor.nettailor import prune


def edge(name):
    if name.startswith("block"):
        return Edge(int(name[5:]), int(name[5:]) - 1, True)
    source, target = map(int, name.split("-"))
    return Edge(target, source, False)


def named(edges):
    return {e.name for e in edges}


class TestPruning:
    def test_what_leads_nowhere_is_dead(self):
        live = live_edges([edge(n) for n in ("block1", "block2", "0-2", "block4", "1-4")], 4)
        # Block 4 has no input, what enters node 2 no output.
        assert named(live) == {"block1", "1-4"}

    def test_whole_chains_vanish(self):
        live = live_edges([edge(n) for n in ("block1", "block2", "block3", "0-4", "block5")], 5)
        assert named(live) == {"0-4", "block5"}

    def test_without_a_path_nothing_is_live(self):
        assert live_edges([edge(n) for n in ("block1", "block3")], 3) == set()

    def attention(self, **more):
        """Blocks by far the strongest, the first a little more; near proxies stronger than far
        ones; and what a test sets: `block2=0.1`, `p1to3=0.04`.
        """
        alpha = {}
        for e in all_edges(4, 3):
            alpha[e] = 0.95 - 0.01 * e.target if e.is_block else 0.02 / (e.target - e.source)
        for name, value in more.items():
            alpha[edge(name.replace("to", "-").lstrip("p"))] = value
        return alpha

    def test_the_guard_finds_the_best_way_over_a_removed_block(self):
        removed = {edge("block2"), edge("block3")}
        left = prune(self.attention(p1to3=0.04), removed, 0.05, "path", 4)
        assert set(left.edges) == {"block1", "1-3", "block4"}
        assert left.restored == 1

    def test_the_guard_by_proxies_bridges_each_removed_block(self):
        left = prune(self.attention(p1to3=0.04), {edge("block2"), edge("block3")}, 0.05, "proxy", 4)
        # The proxy beside block 2 leads nowhere then.
        assert set(left.edges) == {"block1", "1-3", "block4"}
        left = prune(self.attention(), {edge("block2"), edge("block3")}, 0.05, "proxy", 4)
        assert set(left.edges) == {"block1", "1-2", "2-3", "block4"}

    def test_without_a_guard_the_graph_falls_apart_as_in_the_paper(self):
        assert prune(self.attention(), {edge("block2")}, 0.05, "none", 4).edges == ()
        left = prune(self.attention(p1to2=0.06), {edge("block2")}, 0.05, "none", 4)
        assert set(left.edges) == {"block1", "1-2", "block3", "block4"}

    def test_a_guard_is_never_needed_where_a_path_is_left(self):
        left = prune(self.attention(p0to4=0.2), {edge("block2")}, 0.05, "path", 4)
        assert (left.edges, left.restored) == (("0-4",), 0)

    @pytest.mark.parametrize("guard", ["path", "proxy"])
    def test_guards_connect_whatever_is_removed(self, guard):
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            edges = all_edges(6, int(torch.randint(1, 4, (), generator=generator)))
            attention = {e: float(torch.rand((), generator=generator)) for e in edges}
            blocks = [e for e in edges if e.is_block]
            gone = {e for e in blocks if float(torch.rand((), generator=generator)) < 0.7}
            left = {edge(name) for name in prune(attention, gone, 0.9, guard, 6).edges}
            assert left
            assert live_edges(left, 6) == left
            assert not gone & left

    def test_orders_of_removal(self):
        attention = self.attention(block3=0.1, block1=0.2)
        for order, first_two in {
            "attention": ["block3", "block1"],
            "last_first": ["block4", "block3"],
            "first_first": ["block1", "block2"],
        }.items():
            blocks = blocks_in_order(attention, order, seed=0)
            assert [e.name for e in blocks[:2]] == first_two
            assert named(blocks) == {"block1", "block2", "block3", "block4"}

    def test_a_random_order_is_one_shuffle_a_seed(self):
        attention = self.attention()
        shuffle = blocks_in_order(attention, "random", seed=3)
        assert sorted(shuffle) == sorted(e for e in attention if e.is_block)
        assert shuffle == blocks_in_order(attention, "random", seed=3)
        shuffles = [blocks_in_order(attention, "random", seed=s) for s in range(20)]
        assert len({frozenset(blocks[:2]) for blocks in shuffles}) > 3

    def test_shares_of_stages(self):
        assert stages_lost({1, 2, 3}, ["a", "a", "b", "b"]) == {"a": 0.0, "b": 0.5}
