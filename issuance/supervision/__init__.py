"""Supervision (全流程监管): work queues, statistics, charts, alerts."""
