from pathlib import Path
from diffinfinite_lite.training.data import cached_tiles
import inspect
from diffinfinite_lite.training.data import Setting
print(len(cached_tiles(Setting(Path('/root/land/dry'),device='cpu'))[0]))
