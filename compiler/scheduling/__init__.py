"""What the walk of `passes/schedule.py` stands on; nothing else needs it.

capacity   how many bytes tiles take, and the least memory that can run a program
copies     a tile in the SRAM of one core: what the walk speaks of
memories   what a core has on chip: two arenas, and what may be evicted from them
arena      the addresses of one memory: which are free, and since when
emitter    the schedule under construction
"""
