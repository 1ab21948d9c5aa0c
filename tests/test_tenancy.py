"""Tenancy: who is set, where, and what happens without."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailglass.errors import TenancyError, TenancyErrorType
from mailglass.tenancy import ContextTenancy, tenant


def test_without_a_tenant_and_a_default_nothing_goes() -> None:
    """Row 71: an unstamped call is an error, not everybody's mail."""
    with pytest.raises(TenancyError) as caught:
        ContextTenancy().current()
    assert caught.value.type is TenancyErrorType.UNSTAMPED


def test_a_default_serves_the_single_tenant() -> None:
    """Most applications have one."""
    assert ContextTenancy("default").current() == "default"


def _raise_inside(name: str) -> None:
    def block() -> None:
        with tenant(name):
            assert ContextTenancy().current() == name
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        block()


def test_blocks_nest_and_end() -> None:
    """The tenant of the outer block comes back, also after an error."""
    here = ContextTenancy()
    with tenant("a"):
        _raise_inside("b")
        assert here.current() == "a"
    with pytest.raises(TenancyError):
        here.current()


@pytest.mark.parametrize("wrong", ["", "a\x00b", "a\nb", "x" * 201], ids=repr)
def test_an_id_that_no_store_or_log_could_keep_is_refused(wrong: str) -> None:
    """Nobody is not a tenant, nor is half a line."""
    with pytest.raises(TenancyError), tenant(wrong):
        pass


def test_tasks_and_threads_of_asyncio_keep_their_own() -> None:
    """Row 72: two requests at once do not see each other's tenant."""
    here = ContextTenancy()

    async def request(name: str) -> list[str]:
        with tenant(name):
            seen = [here.current()]
            await asyncio.sleep(0)
            seen.append(await asyncio.to_thread(here.current))
            return seen

    async def both() -> list[list[str]]:
        return await asyncio.gather(*(request(f"t{number}") for number in range(50)))

    assert asyncio.run(both()) == [[f"t{number}"] * 2 for number in range(50)]


def test_a_foreign_thread_has_no_tenant() -> None:
    """A thread that was started elsewhere is unstamped rather than wrongly stamped."""
    with tenant("a"), ThreadPoolExecutor(1) as pool, pytest.raises(TenancyError):
        pool.submit(ContextTenancy().current).result()
