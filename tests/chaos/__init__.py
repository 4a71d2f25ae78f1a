"""Chaos runs: load on a system whose programs are killed and whose connections are cut or slowed; then an audit."""
