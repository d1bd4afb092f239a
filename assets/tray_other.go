//go:build !windows

package assets

import _ "embed"

var (
	//go:embed tray.png
	tray []byte
	//go:embed tray-attention.png
	trayAttention []byte
	//go:embed tray-problem.png
	trayProblem []byte
)
