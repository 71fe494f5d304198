#!/bin/sh
# `onecard agent …` of the installed package. -P and -s: nothing of the folder or the person it is started by is loaded.
ONECARD_AGENT_CONFIG=${ONECARD_AGENT_CONFIG:-/etc/onecard/agent.toml}
ONECARD_HOME=${ONECARD_HOME:-/var/lib/onecard-agent/home}
PYTHONPATH=/opt/onecard/app:/opt/onecard/lib
PYTHONDONTWRITEBYTECODE=1
export ONECARD_AGENT_CONFIG ONECARD_HOME PYTHONPATH PYTHONDONTWRITEBYTECODE
exec /usr/bin/python@MINOR@ -P -s -m onecard_cli agent "$@"
