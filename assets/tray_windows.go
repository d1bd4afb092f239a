package assets

import _ "embed"

var (
	//go:embed tray.ico
	tray []byte
	//go:embed tray-attention.ico
	trayAttention []byte
	//go:embed tray-problem.ico
	trayProblem []byte
)
