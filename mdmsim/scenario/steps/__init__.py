"""The steps of scenarios, a module per concern; `mdmsim.scenario.registry` knows them all."""
