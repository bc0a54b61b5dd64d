# Sonic Pi: paste this into a buffer. A track on deck A follows Sonic Pi's tempo; its bass is
# removed and restored every four bars.
use_osc "127.0.0.1", (ENV["CROWDSTREAM_PORT"] || 57120).to_i
track = ENV["CROWDSTREAM_TRACK"] || "/home/pi/music/track.wav"
tempo = (ENV["CROWDSTREAM_BPM"] || 120).to_f # of the track
use_bpm tempo

osc "/clock/tempo", tempo
osc "/deck/A/load", track
osc "/deck/A/grid", tempo
osc "/deck/A/sync", 1, 4.0
sleep 2
osc "/clock/next", "bar", "/deck/A/play"

live_loop :bass do
  osc "/clock/next", "bar", "/deck/A/eq/low", 0.0, 0.1
  sleep 16
  osc "/clock/next", "bar", "/deck/A/eq/low", 1.0, 0.1
  sleep 16
end
