# The part of Sonic Pi's language that the sequencer uses, for a machine without Sonic Pi:
# ruby sonic_pi.rb SCRIPT. Messages are sent immediately, each as one OSC packet.
require "socket"

$socket = UDPSocket.new
$bpm = 60.0

def use_osc(host, port)
  $socket.connect(host, port)
end

def use_bpm(bpm)
  $bpm = bpm
end

def osc(address, *arguments)
  tags = ","
  data = "".b
  arguments.each do |one|
    case one
    when Integer then tags << "i"; data << [one].pack("N")
    when Float then tags << "f"; data << [one].pack("g")
    else tags << "s"; data << padded(one)
    end
  end
  $socket.send(padded(address) + padded(tags) + data, 0)
end

def padded(text)
  text.b + "\0" * (4 - text.bytesize % 4)
end

def sleep(beats)
  Kernel.sleep(beats * 60.0 / $bpm)
end

def live_loop(_name)
  loop { yield }
end

load ARGV.fetch(0)
